"""The handler on the events that the stream and the departures queue send."""

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.doubles.queue_records import queue_record
from tests.integration.workers_delivery.support import (
    Gateway,
    context_of,
    deploy_queue,
    serving_gateway,
)

from commons import keys
from commons.dal import DynamoDBRepository, Table
from commons.schemas.caller import Caller
from commons.services.connections import ConnectionsService
from workers_presence import handler
from workers_presence.handler import lambda_handler

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

    from commons.schemas.lambda_events import QueueRecord, StreamRecord

CHANNEL = "abcdefghijklmnopqrstuv"


class Room:
    """A channel in moto's tables; who comes and goes is told as the stream tells it."""

    def __init__(
        self, repository: DynamoDBRepository, dynamodb: "DynamoDBClient", queue_url: str
    ) -> None:
        self._connections = ConnectionsService(repository)
        self._dynamodb = dynamodb
        self._sqs: SQSClient = boto3.client("sqs")
        self._queue_url = queue_url
        self._numbers = 0

    def connect(self, user_id: str, connection_id: str) -> "StreamRecord":
        moment = int(time.time())
        self._connections.repository.put(
            Table.CHANNELS,
            {**keys.member_key(CHANNEL, user_id), "user_id": user_id, "role": "member"},
        )
        self._connections.register(
            connection_id,
            Caller(user_id=user_id, expires_at=moment + 3_600),
            connected_at=(moment - 60) * 1_000,
            channels=[CHANNEL],
        )
        return self._record("INSERT", "NewImage", user_id, connection_id)

    def disconnect(self, user_id: str, connection_id: str) -> "StreamRecord":
        record = self._record("REMOVE", "OldImage", user_id, connection_id)
        self._connections.forget(connection_id)
        return record

    def checks(self) -> "list[QueueRecord]":
        """What the queue hands over at this moment, as Lambda sees it."""
        answer = self._sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=10)
        return [
            cast(
                "QueueRecord",
                {
                    "messageId": message["MessageId"],
                    "receiptHandle": message["ReceiptHandle"],
                    "body": message["Body"],
                    "attributes": {"ApproximateReceiveCount": "1"},
                    "messageAttributes": {},
                    "eventSource": "aws:sqs",
                    "eventSourceARN": "arn:aws:sqs:eu-west-1:1:chat-test-departures",
                    "awsRegion": "eu-west-1",
                },
            )
            for message in answer.get("Messages", [])
        ]

    def _record(self, kind: str, image: str, user_id: str, connection_id: str) -> "StreamRecord":
        self._numbers += 1
        key = {"channel_id": {"S": CHANNEL}, "sk": {"S": f"{user_id}#{connection_id}"}}
        item = self._dynamodb.get_item(TableName="chat-test-connections", Key=key)["Item"]
        return cast(
            "StreamRecord",
            {
                "eventID": f"c81e728d9d4c2f636f067f89cc14862{self._numbers}",
                "eventName": kind,
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": "eu-west-1",
                "eventSourceARN": "arn:aws:dynamodb:eu-west-1:1:table/chat-test-connections/stream/1",
                "dynamodb": {
                    "ApproximateCreationDateTime": 1_767_225_600.0,
                    "Keys": key,
                    image: item,
                    "SequenceNumber": f"10000{self._numbers}",
                    "SizeBytes": 200,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
            },
        )


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    handler.services.cache_clear()
    with serving_gateway() as gateway:
        monkeypatch.setenv("WEBSOCKET_CALLBACK_URL", gateway.url)
        yield gateway
    handler.services.cache_clear()


@pytest.fixture
def room(
    moto_repository: DynamoDBRepository,
    dynamodb: "DynamoDBClient",
    gateway: Gateway,
    lambda_context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
) -> Room:
    url = deploy_queue("WorkersPresenceFunction", "DEPARTURES_QUEUE_URL")
    monkeypatch.setenv("DEPARTURES_QUEUE_URL", url)
    room = Room(moto_repository, dynamodb, url)
    lambda_handler({"Records": [room.connect("carol", "carol=")]}, lambda_context)
    lambda_handler({"Records": room.checks()}, lambda_context)
    gateway.bodies.clear()
    return room


@pytest.fixture
def lambda_context() -> LambdaContext:
    return context_of("workers_presence")


def presence(user_id: str, *, online: bool) -> dict[str, object]:
    return {"type": "presence", "channelId": CHANNEL, "userId": user_id, "online": online}


def test_who_comes_is_announced_and_who_goes_is_announced_five_seconds_later(
    room: Room, gateway: Gateway, lambda_context: LambdaContext
) -> None:
    came = lambda_handler({"Records": [room.connect("alice", "a=")]}, lambda_context)
    told = lambda_handler({"Records": room.checks()}, lambda_context)
    went = lambda_handler({"Records": [room.disconnect("alice", "a=")]}, lambda_context)

    assert came == told == went == {"batchItemFailures": []}
    assert gateway.frames("carol=") == [presence("alice", online=True)]
    assert room.checks() == []

    time.sleep(5.1)
    confirmed = lambda_handler({"Records": room.checks()}, lambda_context)

    assert confirmed == {"batchItemFailures": []}
    assert gateway.frames("carol=")[1:] == [presence("alice", online=False)]


def test_a_check_that_cannot_be_read_comes_again_alone(
    room: Room, lambda_context: LambdaContext
) -> None:
    def message(message_id: str, body: object) -> "QueueRecord":
        return queue_record(message_id, json.dumps(body), queue="chat-test-departures")

    answer = lambda_handler(
        {
            "Records": [
                message("broken", {"channelId": CHANNEL}),
                message("sound", {"channelId": CHANNEL, "userId": "nobody", "mark": "1"}),
            ]
        },
        lambda_context,
    )

    assert answer == {"batchItemFailures": [{"itemIdentifier": "broken"}]}


def test_a_poison_record_is_passed_over_and_the_rest_is_announced(
    room: Room, gateway: Gateway, lambda_context: LambdaContext
) -> None:
    poison = room.connect("bob", "b=")
    poison["dynamodb"]["NewImage"]["state"] = {"?": "live"}

    answer = lambda_handler({"Records": [poison, room.connect("alice", "a=")]}, lambda_context)
    lambda_handler({"Records": room.checks()}, lambda_context)

    assert answer == {"batchItemFailures": []}
    assert gateway.frames("carol=") == [presence("alice", online=True)]
