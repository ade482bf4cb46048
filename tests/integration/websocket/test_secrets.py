"""No text, token or exception's message gets into a log line, a metric or an error frame."""

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.doubles.canary import canary
from tests.doubles.repository import InMemoryRepository
from tests.integration.websocket.conftest import Join, Open
from tests.integration.websocket.gateway import (
    Frame,
    connect_event,
    error_of,
    frame_of,
    message_event,
)

from commons.dal import IRepository
from websocket_connect import handler as connect_handler
from websocket_sendmessage import handler as sendmessage_handler
from websocket_session import handler as session_handler


@pytest.fixture(autouse=True)
def alice_listens(join: Join, open_connection: Open, channel_id: str) -> None:
    join("alice", channel_id)
    open_connection("c1", channels=(channel_id,))


def test_what_is_sent_stays_in_the_channel(lambda_context: LambdaContext, channel_id: str) -> None:
    frame = {
        "action": "sendmessage",
        "channelId": channel_id,
        "text": canary("text"),
        "metadata": {"key": canary("metadata")},
        "clientMessageId": "once",
    }
    for answer in ("ack", "ack"):
        response = sendmessage_handler.lambda_handler(message_event("c1", frame), lambda_context)
        assert frame_of(response)["type"] == answer
    sync = {"action": "sync", "channelId": channel_id, "after": 0}
    response = session_handler.lambda_handler(message_event("c1", sync), lambda_context)
    assert canary("text") in response["body"]


@pytest.mark.parametrize(
    "frame",
    [
        {"action": "sendmessage", "text": [canary("text")]},
        {"action": "sendmessage", "text": canary("text"), "replyTo": canary("seq")},
        {"action": "sendmessage", "text": canary("text"), "clientMessageId": canary(" ")},
        {"action": "sync", "after": canary("after")},
        {"action": "typing", "typing": canary("typing")},
        {"action": "read", "seq": canary("seq")},
        {"action": "cancel", "replyTo": canary("seq")},
        {"action": "decide", "callId": [canary("call")], "decision": "approve"},
        {"action": "decide", "callId": "a", "decision": canary("decision")},
        {"action": "authenticate", "token": [canary("token")]},
    ],
)
def test_an_error_frame_never_says_what_was_sent(
    lambda_context: LambdaContext, channel_id: str, frame: Frame
) -> None:
    handler = sendmessage_handler if frame["action"] == "sendmessage" else session_handler
    frame = frame if frame["action"] == "authenticate" else {"channelId": channel_id, **frame}

    response = handler.lambda_handler(message_event("c1", frame), lambda_context)

    assert error_of(response)["status"] == 422


def test_no_token_is_repeated(
    lambda_context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLOW_TOKEN_IN_QUERY", "true")
    authenticate = {"action": "authenticate", "token": canary("token")}
    response = session_handler.lambda_handler(message_event("c1", authenticate), lambda_context)
    assert error_of(response)["status"] == 401

    for event in (
        connect_event("c2", query={"token": canary("token")}),
        connect_event("c2", query={"ticket": canary("ticket")}),
        connect_event("c2", headers={"Authorization": f"Bearer {canary('token')}"}),
    ):
        assert connect_handler.lambda_handler(event, lambda_context)["statusCode"] == 401


def test_an_unforeseen_exception_is_named_and_not_quoted(
    lambda_context: LambdaContext,
    channel_id: str,
    storage: IRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert isinstance(storage, InMemoryRepository)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(canary("exception"))

    for name in ("query", "batch_get", "transact", "put"):
        monkeypatch.setattr(storage, name, broken)
    for frame in (
        {"action": "sendmessage", "channelId": channel_id, "text": canary("text")},
        {"action": "sync", "channelId": channel_id, "after": 0},
        {"action": "typing", "channelId": channel_id, "typing": True},
    ):
        handler = sendmessage_handler if frame["action"] == "sendmessage" else session_handler
        response = handler.lambda_handler(message_event("c1", frame), lambda_context)
        assert error_of(response)["status"] == 500
