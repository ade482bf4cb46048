"""The handler on the events that a stream mapping and a queue send, on moto's tables and queue."""

import io
import json
import time
from typing import TYPE_CHECKING, cast

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.doubles.queue_records import queue_record
from tests.integration.workers_delivery.conftest import ParkingQueue
from tests.integration.workers_delivery.support import Gateway

from commons import keys
from commons.dal import DynamoDBRepository, Table
from commons.dynamodb.exceptions import (
    StorageBusyError,
    StorageUnavailableError,
    StorageUnreachableError,
)
from commons.observability import log as logger
from commons.schemas.caller import Caller
from commons.schemas.event import MessageCreatedData, Sender
from commons.services.connections import ConnectionsService
from commons.services.event_log import Draft, EventLogService
from workers_delivery.handler import lambda_handler

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from commons.schemas.lambda_events import QueueRecord, StreamRecord

CHANNEL = "abcdefghijklmnopqrstuv"
OTHER = "zyxwvutsrqponmlkjihgfe"


class Channel:
    """A channel in moto's tables, whose stream records are made of the items as stored."""

    def __init__(
        self, repository: DynamoDBRepository, dynamodb: "DynamoDBClient", channel_id: str
    ) -> None:
        self._repository = repository
        self._dynamodb = dynamodb
        self._id = channel_id

    def connect(self, user_id: str, connection_id: str) -> None:
        self._repository.put(
            Table.CHANNELS,
            {**keys.member_key(self._id, user_id), "user_id": user_id, "role": "member"},
        )
        moment = int(time.time())
        ConnectionsService(self._repository).register(
            connection_id,
            Caller(user_id=user_id, expires_at=moment + 3_600),
            connected_at=(moment - 60) * 1_000,
            channels=[self._id],
        )

    def connections(self) -> list[str]:
        rows = ConnectionsService(self._repository).subscriptions(self._id)
        return sorted(row.connection_id for row in rows)

    def say(self, text: str) -> "StreamRecord":
        """Appends a message; returns the record that the stream hands over."""
        event = EventLogService(self._repository).append(
            self._id,
            lambda: Draft(
                sender=Sender(id="alice", name="Alice", kind="user"),
                data=MessageCreatedData(text=text),
            ),
        )
        key = {"channel_id": {"S": self._id}, "seq": {"N": str(event.seq)}}
        image = self._dynamodb.get_item(TableName="chat-test-chat_events", Key=key)["Item"]
        # AWS sends more than the handler's type names.
        return cast(
            "StreamRecord",
            {
                "eventID": f"c81e728d9d4c2f636f067f89cc14862{event.seq}",
                "eventName": "INSERT",
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": "eu-west-1",
                "eventSourceARN": "arn:aws:dynamodb:eu-west-1:1:table/chat-test-chat_events/stream/1",
                "dynamodb": {
                    "ApproximateCreationDateTime": 1_767_225_600.0,
                    "Keys": key,
                    "NewImage": image,
                    "SequenceNumber": f"{self._id}-10000{event.seq}",
                    "SizeBytes": 200,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
            },
        )


@pytest.fixture
def channel(
    moto_repository: DynamoDBRepository,
    dynamodb: "DynamoDBClient",
    gateway: Gateway,
    parking: ParkingQueue,
) -> Channel:
    channel = Channel(moto_repository, dynamodb, CHANNEL)
    channel.connect("bob", "L0SM9cOFvHcCIhw=")
    return channel


@pytest.fixture
def other(moto_repository: DynamoDBRepository, dynamodb: "DynamoDBClient") -> Channel:
    other = Channel(moto_repository, dynamodb, OTHER)
    other.connect("carol", "carol=")
    return other


def queued(message_id: str, body: object) -> "QueueRecord":
    return queue_record(message_id, json.dumps(body))


def test_what_was_appended_reaches_the_connection(
    channel: Channel, gateway: Gateway, lambda_context: LambdaContext
) -> None:
    records = [channel.say("grüße 🦊"), channel.say("second")]

    answer = lambda_handler({"Records": records}, lambda_context)

    assert answer == {"batchItemFailures": []}
    (body,) = gateway.bodies["L0SM9cOFvHcCIhw="]
    assert [event["data"]["text"] for event in json.loads(body)["events"]] == ["grüße 🦊", "second"]


@pytest.mark.parametrize("kind", [StorageBusyError, StorageUnreachableError])
def test_what_storage_did_not_let_deliver_comes_again_and_is_not_parked(  # noqa: PLR0917
    channel: Channel,
    gateway: Gateway,
    parking: ParkingQueue,
    lambda_context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[StorageUnavailableError],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise kind

    records = [channel.say("first"), channel.say("second")]
    with monkeypatch.context() as down:
        down.setattr(ConnectionsService, "first_page", fail)
        answer = lambda_handler({"Records": records}, lambda_context)

    sequence_number = records[0]["dynamodb"]["SequenceNumber"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": sequence_number}]}
    assert parking.bodies() == []

    assert lambda_handler({"Records": records}, lambda_context) == {"batchItemFailures": []}
    (body,) = gateway.bodies["L0SM9cOFvHcCIhw="]
    assert [event["data"]["text"] for event in json.loads(body)["events"]] == ["first", "second"]


def test_records_in_any_order_and_twice_are_each_event_once_ascending(
    channel: Channel, gateway: Gateway, lambda_context: LambdaContext
) -> None:
    first, second, third = channel.say("1"), channel.say("2"), channel.say("3")

    lambda_handler({"Records": [second, first, second, third]}, lambda_context)

    assert gateway.seqs("L0SM9cOFvHcCIhw=") == [1, 2, 3]


def test_markers_states_and_changed_items_are_no_events(
    channel: Channel, gateway: Gateway, lambda_context: LambdaContext
) -> None:
    changed, removed, marker = channel.say("1"), channel.say("2"), channel.say("3")
    changed["eventName"] = "MODIFY"
    removed["eventName"] = "REMOVE"
    marker["dynamodb"]["Keys"] = {"channel_id": {"S": f"{CHANNEL}#state"}, "seq": {"N": "3"}}

    answer = lambda_handler({"Records": [changed, removed, marker]}, lambda_context)

    assert answer == {"batchItemFailures": []}
    assert gateway.bodies == {}


def test_a_poison_record_is_parked_without_its_text_and_the_rest_is_delivered(
    channel: Channel,
    gateway: Gateway,
    parking: ParkingQueue,
    lambda_context: LambdaContext,
    logged: io.StringIO,
) -> None:
    poison, sound = channel.say("a secret"), channel.say("sound")
    poison["dynamodb"]["NewImage"]["data"] = {"S": "no data of any event"}

    answer = lambda_handler({"Records": [poison, sound]}, lambda_context)

    assert answer == {"batchItemFailures": []}
    assert gateway.seqs("L0SM9cOFvHcCIhw=") == [2]
    assert parking.bodies() == [
        {"channelId": CHANNEL, "fromSeq": 1, "toSeq": 1, "reason": "malformed"}
    ]
    assert "secret" not in logged.getvalue()


def test_a_record_that_names_no_event_is_passed_over(
    channel: Channel, gateway: Gateway, lambda_context: LambdaContext
) -> None:
    headless = channel.say("1")
    headless["dynamodb"]["Keys"] = {"channel_id": {"L": []}}

    answer = lambda_handler({"Records": [headless, channel.say("2")]}, lambda_context)

    assert answer == {"batchItemFailures": []}
    assert gateway.seqs("L0SM9cOFvHcCIhw=") == [2]


def test_what_could_not_even_be_parked_is_handed_over_again_from_the_first_such_record(
    channel: Channel,
    other: Channel,
    gateway: Gateway,
    parking: ParkingQueue,
    lambda_context: LambdaContext,
) -> None:
    sound, poison, later_poison = channel.say("sound"), other.say("1"), channel.say("2")
    for record in (poison, later_poison):
        record["dynamodb"]["NewImage"]["data"] = {"S": "no data of any event"}
    parking.break_down()

    answer = lambda_handler({"Records": [sound, poison, later_poison]}, lambda_context)

    assert answer == {
        "batchItemFailures": [{"itemIdentifier": poison["dynamodb"]["SequenceNumber"]}]
    }
    assert gateway.seqs("L0SM9cOFvHcCIhw=") == [1]


def test_a_batch_replayed_after_a_time_out_in_the_middle_repeats_and_loses_nothing(
    channel: Channel,
    gateway: Gateway,
    lambda_context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel.connect("carol", "carol=")
    records = [channel.say("1"), channel.say("2")]

    with monkeypatch.context() as broken:
        broken.setattr("commons.realtime.callback_api.CallbackApi.post", _post_then_die(gateway))
        with pytest.raises(_KilledError):
            lambda_handler({"Records": records}, lambda_context)

    answer = lambda_handler({"Records": records}, lambda_context)

    assert answer == {"batchItemFailures": []}
    for connection_id in ("L0SM9cOFvHcCIhw=", "carol="):
        assert sorted(set(gateway.seqs(connection_id))) == [1, 2]


class _KilledError(BaseException):
    pass


def _post_then_die(gateway: Gateway) -> object:
    def post(_self: object, connection_id: str, body: bytes, *_args: object, **_kw: object) -> int:
        if gateway.bodies:
            raise _KilledError
        return gateway.post(connection_id, body)

    return post


def test_a_connection_that_is_gone_loses_its_rows(
    channel: Channel, gateway: Gateway, lambda_context: LambdaContext
) -> None:
    channel.connect("carol", "carol=")
    gateway.gone = {"carol="}

    lambda_handler({"Records": [channel.say("1")]}, lambda_context)

    assert channel.connections() == ["L0SM9cOFvHcCIhw="]
    assert gateway.seqs("L0SM9cOFvHcCIhw=") == [1]


def test_parked_ranges_put_back_to_work_are_read_from_the_log_and_delivered(
    channel: Channel, gateway: Gateway, lambda_context: LambdaContext
) -> None:
    for text in ("1", "2", "3"):
        channel.say(text)
    parked = {"channelId": CHANNEL, "fromSeq": 2, "toSeq": 3, "reason": "storage"}

    answer = lambda_handler(
        {"Records": [queued("good", parked), queued("bad", {"channelId": CHANNEL})]}, lambda_context
    )

    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert gateway.seqs("L0SM9cOFvHcCIhw=") == [2, 3]


def test_one_log_line_tells_the_figures_and_the_correlation_ids_and_no_text(
    channel: Channel,
    gateway: Gateway,
    lambda_context: LambdaContext,
    logged: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger.set_correlation_id("correlation-1")
    record = channel.say("a secret")
    logger.set_correlation_id(None)
    capsys.readouterr()

    lambda_handler({"Records": [record]}, lambda_context)

    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    (told,) = [line for line in lines if line.get("message") == "delivered"]
    assert told["correlation_ids"] == ["correlation-1"]
    assert (told["channels"], told["events"], told["delivered"]) == (1, 1, 1)
    assert "secret" not in logged.getvalue()
    assert json.loads(capsys.readouterr().out)["Delivered"] == [1.0]
