"""What a frame may hold, and how large its answer gets."""

import json

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.websocket.conftest import Join, Open
from tests.integration.websocket.gateway import Frame, error_of, message_event

from commons.json_text import parse_json
from commons.records.connection import Connection
from commons.schemas.server_frames import SyncFrame
from commons.services.channel_reader import Shown, own
from commons.websocket.frame_handler import ReceivedFrame, serve_message
from websocket_sendmessage import handler as sendmessage_handler
from websocket_session import handler as session_handler

OTHER_CHANNEL = "o" * 22


@pytest.fixture(autouse=True)
def alice_listens(join: Join, open_connection: Open, channel_id: str) -> None:
    join("alice", channel_id)
    open_connection("c1", channels=(channel_id,))


def test_a_frame_of_unknown_fields_is_answered_with_a_small_one(
    lambda_context: LambdaContext, channel_id: str
) -> None:
    fields: Frame = {f"{number:x}": 0 for number in range(3_000)}
    frame = {"action": "sendmessage", "channelId": channel_id, "text": "x", **fields}

    response = sendmessage_handler.lambda_handler(message_event("c1", frame), lambda_context)

    problem = error_of(response)
    assert problem["status"] == 422
    assert len(problem["errors"]) == 20
    assert len(response["body"].encode()) < 17_000


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        ({"action": "sendmessage", "text": "x", "client_message_id": "a"}, "client_message_id"),
        ({"action": "sendmessage", "text": "x", "reply_to": 1}, "reply_to"),
        ({"action": "sendmessage", "text": "x", "request_id": "a"}, "request_id"),
        ({"action": "sync", "after": 0, "channel_id": OTHER_CHANNEL}, "channel_id"),
        ({"action": "cancel", "reply_to": 1}, "reply_to"),
        ({"action": "read", "seq": 1, "channel_id": OTHER_CHANNEL}, "channel_id"),
    ],
)
def test_a_field_in_snake_case_is_unknown(
    lambda_context: LambdaContext, channel_id: str, frame: Frame, field: str
) -> None:
    handler = sendmessage_handler if frame["action"] == "sendmessage" else session_handler

    response = handler.lambda_handler(
        message_event("c1", {"channelId": channel_id, **frame}), lambda_context
    )

    problem = error_of(response)
    assert problem["status"] == 422
    assert [error["field"] for error in problem["errors"]] == [field]


def test_an_answer_that_fits_no_frame_becomes_an_error_frame(channel_id: str) -> None:
    def act(frame: ReceivedFrame, connection: Connection) -> Shown[SyncFrame]:
        name = "x" * 140_000
        return own(SyncFrame(channel_id=name, items=[], last_seq=0, has_more=False))

    connection = Connection(
        connection_id="c1",
        user_id="alice",
        token_expires_at=2**31,
        expires_at=2**31,
        connected_at=0,
    )

    response = serve_message(
        message_event("c1", {"action": "sync", "channelId": channel_id}),
        act,
        connection_of=lambda _: connection,
        close=lambda _: None,
    )

    assert error_of(response)["status"] == 500
    assert isinstance(parse_json(response["body"]), dict)
    assert len(json.dumps(response)) < 1_000
