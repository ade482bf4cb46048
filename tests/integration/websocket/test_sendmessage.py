import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.websocket.conftest import Join, Open
from tests.integration.websocket.gateway import (
    Frame,
    ManagementApi,
    error_of,
    frame_of,
    message_event,
)

from commons import keys
from commons.dal import IRepository, Table, Update
from commons.services.event_log import EventLogService
from websocket_sendmessage import handler
from websocket_sendmessage.services.sending import SendingService

type Send = Callable[..., Any]


@pytest.fixture
def send(lambda_context: LambdaContext) -> Send:
    def _send(body: str | Frame, connection_id: str = "c1") -> Any:
        return handler.lambda_handler(
            message_event(connection_id, body, route="sendmessage"), lambda_context
        )

    return _send


@pytest.fixture
def frame(join: Join, open_connection: Open, channel_id: str) -> Frame:
    """A frame that alice's connection may send."""
    join("alice", channel_id)
    open_connection("c1")
    return {"action": "sendmessage", "channelId": channel_id, "text": "Hello"}


def test_a_message_is_acknowledged_with_its_number(
    send: Send, frame: Frame, channel_id: str, storage: IRepository
) -> None:
    assert frame_of(send(frame | {"requestId": "r1"})) == {
        "type": "ack",
        "requestId": "r1",
        "channelId": channel_id,
        "seq": 1,
        "duplicate": False,
    }
    event = EventLogService(storage).get(channel_id, 1)
    assert (event.sender.id, event.sender.name) == ("alice", "Alice")


def test_the_same_client_message_id_again_is_a_duplicate(send: Send, frame: Frame) -> None:
    frame |= {"clientMessageId": "m-1"}
    assert frame_of(send(frame))["duplicate"] is False
    again = frame_of(send(frame))
    assert (again["seq"], again["duplicate"]) == (1, True)


def test_the_same_client_message_id_with_another_text_is_a_conflict(
    send: Send, frame: Frame
) -> None:
    send(frame | {"clientMessageId": "m-1"})
    problem = error_of(send(frame | {"clientMessageId": "m-1", "text": "Other"}))
    assert problem["status"] == 409


def test_who_is_no_member_is_told_that_there_is_no_such_channel(
    send: Send, frame: Frame, open_connection: Open
) -> None:
    open_connection("c2", "mallory")
    assert error_of(send(frame, "c2"))["status"] == 404


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"text": ""}, 422, "text"),
        ({"text": None}, 422, "text"),
        ({"text": "x" * 16_001}, 413, None),
        ({"replyTo": 0}, 422, "replyTo"),
        ({"replyTo": "1"}, 422, "replyTo"),
        ({"replyTo": 7}, 422, "replyTo"),
        ({"clientMessageId": "a b"}, 422, "clientMessageId"),
        ({"unknown": 1}, 422, "unknown"),
        ({"channelId": 5}, 422, "channelId"),
        ({"channelId": "no such channel"}, 404, None),
        ({"channelId": "conn#c1"}, 404, None),
        ({"metadata": "x"}, 422, "metadata"),
        ({"metadata": {"x": "\ud800"}}, 422, "metadata"),
        ({"metadata": {"x": "x" * 2_100}}, 413, None),
        ({"text": "\ud800"}, 422, "text"),
    ],
)
def test_a_wrong_field_is_an_error_frame_that_names_it(
    send: Send, frame: Frame, change: Frame, status: int, field: str | None
) -> None:
    response = send(json.dumps(frame | change | {"requestId": "r1"}))
    problem = error_of(response)
    assert problem["status"] == status
    assert frame_of(response)["requestId"] == "r1"
    if field is not None:
        assert [error["field"] for error in problem["errors"]] == [field]


def test_16000_characters_are_taken_as_they_came(
    send: Send, frame: Frame, channel_id: str, storage: IRepository
) -> None:
    text = "é" * 15_998 + "\n\t"
    frame_of(send(frame | {"text": text}))
    assert EventLogService(storage).get_message(channel_id, 1).data.text == text


def test_a_frame_of_32_kb_is_taken_and_one_byte_more_is_not(send: Send, frame: Frame) -> None:
    def padded(size: int) -> str:
        body = json.dumps(frame)
        return body + " " * (size - len(body))

    assert frame_of(send(padded(32_768)))["type"] == "ack"
    assert error_of(send(padded(32_769)))["status"] == 413


def test_a_connection_whose_token_has_ended_is_closed_and_sent_nothing(
    send: Send,
    frame: Frame,
    channel_id: str,
    storage: IRepository,
    management_api: ManagementApi,
) -> None:
    storage.update(
        Table.CONNECTIONS,
        keys.connection_key("c1"),
        Update(set={"expires_at": int(time.time())}),
    )
    assert send(frame) == {"statusCode": 200}
    assert send("no JSON") == {"statusCode": 200}
    assert management_api.closed == ["c1", "c1"]
    assert EventLogService(storage).head(channel_id) == 0


def test_a_connection_that_nobody_registered_is_closed(
    send: Send, frame: Frame, management_api: ManagementApi
) -> None:
    assert send(frame, "stranger") == {"statusCode": 200}
    assert management_api.closed == ["stranger"]


def test_posting_faster_than_the_rate_is_refused(
    send: Send, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POST_RATE", "1")
    handler.services.cache_clear()
    answers = [frame_of(send(frame)) for _ in range(4)]
    assert [answer["type"] for answer in answers[:2]] == ["ack", "ack"]
    assert answers[3]["error"]["status"] == 429


def test_one_line_is_logged_a_frame_and_no_text(
    send: Send, frame: Frame, caplog: pytest.LogCaptureFixture
) -> None:
    send(frame | {"text": "a secret", "requestId": 5})
    send(frame | {"text": "a secret"})
    assert [record.message for record in caplog.records] == ["frame served", "frame served"]
    assert "a secret" not in str([vars(record) for record in caplog.records])


def test_what_the_function_did_not_foresee_reaches_the_client_without_its_text(
    send: Send,
    frame: Frame,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(SendingService, "send", fail)
    response = send(frame)
    assert '"Unhandled":[1.0]' in capsys.readouterr().out
    assert error_of(response)["status"] == 500
    (record,) = caplog.records
    assert record.message == "frame failed"
    assert "a secret" not in str(response) + str(vars(record))
