"""Routes without a response: whatever they have to say is posted."""

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.websocket.conftest import Join, Open
from tests.integration.websocket.gateway import Frame, ManagementApi, message_event

from websocket_session import handler


@pytest.fixture
def channel(join: Join, open_connection: Open, channel_id: str) -> str:
    join("alice", channel_id)
    open_connection("c1")
    return channel_id


def send(frame: Frame, context: LambdaContext) -> object:
    event = message_event("c1", frame, route=frame["action"])
    response: object = handler.lambda_handler(event, context)
    return response


def test_an_answer_is_posted_and_not_returned(
    channel: str, management_api: ManagementApi, lambda_context: LambdaContext
) -> None:
    frame = {"action": "subscribe", "channelId": channel, "requestId": "r1"}

    assert send(frame, lambda_context) == {"statusCode": 200}

    (answer,) = management_api.frames("c1")
    assert (answer["type"], answer["requestId"], answer["channelId"]) == ("ack", "r1", channel)


def test_an_error_is_posted_and_not_returned(
    channel: str, management_api: ManagementApi, lambda_context: LambdaContext
) -> None:
    frame = {"action": "typing", "channelId": channel, "typing": "yes", "requestId": "r1"}

    assert send(frame, lambda_context) == {"statusCode": 200}

    (answer,) = management_api.frames("c1")
    assert (answer["requestId"], answer["error"]["status"]) == ("r1", 422)


def test_nothing_to_say_is_no_frame(
    channel: str, management_api: ManagementApi, lambda_context: LambdaContext
) -> None:
    frame = {"action": "typing", "channelId": channel, "typing": True}

    assert send(frame, lambda_context) == {"statusCode": 200}

    assert management_api.frames("c1") == []
