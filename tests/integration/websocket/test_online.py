"""Who is online, as the ack of `subscribe` says it, with `after` and without."""

from collections.abc import Callable

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.websocket.conftest import Join, Open
from tests.integration.websocket.gateway import Frame, ManagementApi, frame_of, message_event

from commons import keys
from commons.dal import IRepository, Item, Table, Update
from commons.services.connections import ConnectionsService
from websocket_session import handler
from websocket_session.services.listeners import ListenersService

type Subscribe = Callable[[str], Frame]


@pytest.fixture(params=[{}, {"after": 0}], ids=["from now on", "with after"])
def subscribe(
    request: pytest.FixtureRequest,
    channel_id: str,
    lambda_context: LambdaContext,
    management_api: ManagementApi,
) -> Subscribe:
    """Subscribes a connection; returns the frame that answers it, posted or not."""

    def _subscribe(connection_id: str) -> Frame:
        frame = {"action": "subscribe", "channelId": channel_id, **request.param}
        response = handler.lambda_handler(message_event(connection_id, frame), lambda_context)
        return (
            frame_of(response) if "body" in response else management_api.frames(connection_id)[-1]
        )

    return _subscribe


@pytest.fixture
def connect(join: Join, open_connection: Open, channel_id: str) -> Join:
    """A member's connection, by both their names."""

    def _connect(user_id: str, connection_id: str) -> None:
        join(user_id, channel_id)
        open_connection(connection_id, user_id)

    return _connect


def test_the_ack_names_each_user_once_oneself_included(subscribe: Subscribe, connect: Join) -> None:
    for user_id, connection_id in (("bob", "b1"), ("bob", "b2"), ("alice", "a1"), ("carol", "c1")):
        connect(user_id, connection_id)
    for connection_id in ("b1", "b2"):
        subscribe(connection_id)

    assert subscribe("a1")["online"] == ["alice", "bob"]
    assert subscribe("a1")["online"] == ["alice", "bob"]


def test_who_still_replays_or_has_expired_is_not_online(
    subscribe: Subscribe, connect: Join, storage: IRepository, channel_id: str
) -> None:
    for user_id in ("alice", "bob", "carol"):
        connect(user_id, user_id)
    connections = ConnectionsService(storage)
    connections.subscribe(connections.require("bob"), channel_id, state="replaying")
    subscribe("carol")
    expired = Update(set={"expires_at": 1})
    storage.update(Table.CONNECTIONS, keys.subscription_key(channel_id, "carol", "carol"), expired)

    assert subscribe("alice")["online"] == ["alice"]


def test_the_ack_names_the_first_200_users(
    subscribe: Subscribe, connect: Join, storage: IRepository, channel_id: str
) -> None:
    users = ["a", "a+", "a-", "a.b", "a|", *(f"user-{number:03}" for number in range(250))]
    for user_id in users:
        for number in range(3):
            row: Item = {
                **keys.subscription_key(channel_id, user_id, f"{user_id}-{number}"),
                "user_id": user_id,
                "connection_id": f"{user_id}-{number}",
                "state": "live",
                "expires_at": 2**40,
                "connected_at": 1,
            }
            storage.put(Table.CONNECTIONS, row)
    connect("alice", "a1")

    assert subscribe("a1")["online"] == sorted([*users, "alice"])[:200]


def test_who_is_removed_once_subscribed_is_not_told(
    subscribe: Subscribe, connect: Join, storage: IRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect("alice", "a1")
    read = ListenersService._online

    def removed_meanwhile(self: ListenersService, channel_id: str) -> list[str]:
        storage.delete(Table.CHANNELS, keys.member_key(channel_id, "alice"))
        return read(self, channel_id)

    monkeypatch.setattr(ListenersService, "_online", removed_meanwhile)

    answer = subscribe("a1")

    assert (answer["type"], answer["error"]["status"]) == ("error", 404)
