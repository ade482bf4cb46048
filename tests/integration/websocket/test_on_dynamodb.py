"""The four functions over DynamoDB's own conditions and transactions, as moto plays them."""

import time

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.websocket.conftest import Join, Open
from tests.integration.websocket.gateway import (
    Frame,
    ManagementApi,
    connect_event,
    disconnect_event,
    error_of,
    frame_of,
    message_event,
)

from commons import keys
from commons.dal import IRepository, Table
from commons.ids import new_channel_id
from commons.schemas.caller import Caller
from commons.services.connections import ConnectionsService
from commons.services.tickets import TicketsService
from websocket_connect import handler as connect_handler
from websocket_disconnect import handler as disconnect_handler
from websocket_sendmessage import handler as sendmessage_handler
from websocket_session import handler as session_handler

pytestmark = pytest.mark.parametrize("storage", ["dynamodb"], indirect=True)


def ticket(storage: IRepository) -> str:
    alice = Caller(user_id="alice", name="Alice", expires_at=int(time.time()) + 600)
    return TicketsService(storage).issue(alice).ticket


def test_a_session_from_handshake_to_disconnect(
    storage: IRepository,
    join: Join,
    channel_id: str,
    lambda_context: LambdaContext,
    management_api: ManagementApi,
) -> None:
    join("alice", channel_id)

    def act(frame: Frame) -> Frame:
        return frame_of(session_handler.lambda_handler(message_event("c1", frame), lambda_context))

    handshake = connect_event("c1", query={"ticket": ticket(storage), "channels": channel_id})
    assert connect_handler.lambda_handler(handshake, lambda_context) == {"statusCode": 200}
    for _ in range(2):
        posting = message_event(
            "c1",
            {
                "action": "sendmessage",
                "channelId": channel_id,
                "text": "Hello",
                "clientMessageId": "m-1",
            },
        )
        answer = frame_of(sendmessage_handler.lambda_handler(posting, lambda_context))
        assert answer["seq"] == 1
    session_handler.lambda_handler(
        message_event("c1", {"action": "subscribe", "channelId": channel_id, "after": 0}),
        lambda_context,
    )
    assert [frame["type"] for frame in management_api.frames("c1")] == ["events", "ack"]
    session_handler.lambda_handler(
        message_event("c1", {"action": "typing", "channelId": channel_id, "typing": True}),
        lambda_context,
    )
    connection = ConnectionsService(storage).require("c1")
    assert connection.channels == {channel_id}
    assert storage.get(Table.CONNECTIONS, keys.typing_key(channel_id, "alice"))["typing"] is True
    assert act({"action": "ping", "heads": True})["heads"] == {channel_id: 1}
    assert act({"action": "read", "channelId": channel_id, "seq": 1})["type"] == "ack"
    assert act({"action": "unsubscribe", "channelId": channel_id})["type"] == "ack"
    assert act({"action": "subscribe", "channelId": channel_id})["type"] == "ack"
    disconnect_handler.lambda_handler(disconnect_event("c1"), lambda_context)
    connections = ConnectionsService(storage)
    assert connections.find("c1") is None
    assert connections.subscriptions(channel_id, include_expired=True) == []


def test_50_channels_are_subscribed_in_the_handshake_or_none(
    storage: IRepository, join: Join, lambda_context: LambdaContext
) -> None:
    channels = [new_channel_id() for _ in range(50)]
    for channel in channels:
        join("alice", channel)
    query = {"ticket": ticket(storage), "channels": ",".join(channels)}
    assert connect_handler.lambda_handler(connect_event("c1", query=query), lambda_context) == {
        "statusCode": 200
    }
    storage.delete(Table.CHANNELS, keys.member_key(max(channels), "alice"))
    query["ticket"] = ticket(storage)
    assert connect_handler.lambda_handler(connect_event("c2", query=query), lambda_context) == {
        "statusCode": 403
    }
    connections = ConnectionsService(storage)
    assert connections.find("c2") is None
    assert {row.connection_id for each in channels for row in connections.subscriptions(each)} == {
        "c1"
    }


def test_the_51st_channel_is_refused_and_removals_make_room(
    storage: IRepository, join: Join, open_connection: Open, lambda_context: LambdaContext
) -> None:
    channels = [new_channel_id() for _ in range(51)]
    for channel in channels:
        join("alice", channel)
    open_connection("c1", channels=tuple(channels[:50]))
    event = message_event("c1", {"action": "subscribe", "channelId": channels[50]})
    assert error_of(session_handler.lambda_handler(event, lambda_context))["status"] == 409
    storage.delete(Table.CHANNELS, keys.member_key(channels[0], "alice"))
    assert ConnectionsService(storage).remove_user(channels[0], "alice") == ["c1"]
    assert ConnectionsService(storage).remove_channel(channels[1]) == ["c1"]
    assert frame_of(session_handler.lambda_handler(event, lambda_context))["type"] == "ack"
    assert ConnectionsService(storage).require("c1").channels == set(channels[2:])
