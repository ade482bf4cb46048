"""The handler on the events that a stream mapping sends, with moto's SQS and tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.workers_agent.queues import Queues, deploy_queues

from commons import keys
from commons.dal import DynamoDBRepository, Table
from commons.services.crowding import PLACES
from workers_agent_dispatcher import composition, handler

if TYPE_CHECKING:
    from commons.schemas.lambda_events import StreamRecord

CHANNEL = "abcdefghijklmnopqrstuv"


@pytest.fixture
def queues(table_names: dict[Table, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Queues]:
    queues = deploy_queues()
    monkeypatch.setenv("AGENT_QUEUE_URL", queues.agent_url)
    monkeypatch.setenv("AGENT_CROWDED_QUEUE_URL", queues.crowded_url)
    monkeypatch.setenv("PARKING_QUEUE_URL", queues.parking_url)
    monkeypatch.setenv("MAXIMUM_CONCURRENCY", str(2 * PLACES))
    composition.dispatch_service.cache_clear()
    yield queues
    composition.dispatch_service.cache_clear()


@pytest.fixture
def channel(moto_repository: DynamoDBRepository) -> None:
    moto_repository.put(
        Table.CHANNELS,
        {
            **keys.channel_key(CHANNEL),
            "channel_id": CHANNEL,
            "name": "General",
            "created_at": "2026-01-01T00:00:00.000Z",
            "created_by": "alice",
            "member_count": 1,
            "owner_count": 1,
            "agent": {"mode": "always", "model_id": "m"},
        },
    )


def _record(event_name: str = "INSERT", seq: int = 1) -> "StreamRecord":
    # AWS sends more than the handler's type names.
    return cast(
        "StreamRecord",
        {
            "eventID": "1",
            "eventName": event_name,
            "eventSource": "aws:dynamodb",
            "eventSourceARN": "arn:aws:dynamodb:eu-west-1:1:table/chat-test-chat_events/stream/x",
            "dynamodb": {
                "Keys": {"channel_id": {"S": CHANNEL}, "seq": {"N": str(seq)}},
                "NewImage": {
                    "channel_id": {"S": CHANNEL},
                    "seq": {"N": str(seq)},
                    "message_seq": {"N": str(seq)},
                    "type": {"S": "message.created"},
                    "created_at": {"S": "2026-01-01T00:00:00.000Z"},
                    "write_id": {"S": "w"},
                    "sender_id": {"S": "alice"},
                    "sender_kind": {"S": "user"},
                    "correlation_id": {"S": "correlation-1"},
                    "data": {"M": {"text": {"S": "hello"}, "metadata": {"S": "{}"}}},
                },
                "SequenceNumber": f"10000{seq}",
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        },
    )


def test_an_inserted_message_is_queued(
    queues: Queues, channel: None, lambda_context: LambdaContext
) -> None:
    answer = handler.lambda_handler({"Records": [_record(seq=5)]}, lambda_context)

    assert answer == {"batchItemFailures": []}
    assert queues.asked() == [
        {
            "channelId": CHANNEL,
            "questionSeq": 5,
            "generation": 1,
            "correlationId": "correlation-1",
            "tries": 0,
        }
    ]


def test_a_question_is_queued_once_more_for_later_should_its_worker_die_as_it_starts(
    queues: Queues, channel: None, lambda_context: LambdaContext
) -> None:
    handler.lambda_handler({"Records": [_record(seq=5), _record(seq=6)]}, lambda_context)

    assert [asked["questionSeq"] for asked in queues.asked()] == [5, 6]
    assert queues.delayed() == 2


def test_a_channels_questions_are_one_group_so_that_no_channel_waits_for_another(
    queues: Queues, channel: None, lambda_context: LambdaContext
) -> None:
    handler.lambda_handler({"Records": [_record(seq=1), _record(seq=2)]}, lambda_context)

    assert queues.groups() == [CHANNEL, CHANNEL]


def test_what_a_channel_asks_beyond_its_share_waits_in_a_queue_of_its_own(
    queues: Queues, channel: None, lambda_context: LambdaContext
) -> None:
    asked = PLACES + 2

    handler.lambda_handler(
        {"Records": [_record(seq=seq) for seq in range(1, asked + 1)]}, lambda_context
    )

    assert [each["questionSeq"] for each in queues.crowded()] == [asked - 1, asked]
    assert len(queues.asked()) == PLACES


def test_a_changed_item_is_no_question(
    queues: Queues, channel: None, lambda_context: LambdaContext
) -> None:
    handler.lambda_handler({"Records": [_record("MODIFY")]}, lambda_context)

    assert queues.asked() == []


def test_a_poison_record_is_parked_without_text(
    queues: Queues, channel: None, lambda_context: LambdaContext
) -> None:
    poison = _record(seq=1)
    poison["dynamodb"]["NewImage"]["data"] = {"M": {"text": {"N": "1"}}}

    answer = handler.lambda_handler({"Records": [poison, _record(seq=2)]}, lambda_context)

    assert answer == {"batchItemFailures": []}
    assert [asked["questionSeq"] for asked in queues.asked()] == [2]
    assert queues.parked() == [
        {"channelId": CHANNEL, "fromSeq": 1, "toSeq": 1, "reason": "malformed"}
    ]
