"""Puts back to work what lies in a queue for what failed, by the queue's kind.

Dead letters go back to their queue. A parked range is read from the log again and handed to its
function. A stream's failure notice names records, which the stream itself holds for 24 hours.
"""

import base64
import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from commons.dal import DynamoDBRepository, IRepository, Query, SortBetween, SortPrefix, Table
from commons.dal.serialisation import serialize_item
from commons.keys import channel_partition, generation_prefix
from devstack.aws import AwsClients
from devstack.errors import DevstackError

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

type Json = dict[str, Any]
type Work = Callable[[str, str], bool]
"""Does what a message (its id, its body) asks for; tells whether it is done."""

DEAD_LETTERS = "-dead-letters"
PARKING = {
    "delivery-parking": "workers_delivery",
    "dispatcher-parking": "workers_agent_dispatcher",
}
FAILURES = {
    "delivery-failures": "workers_delivery",
    "dispatcher-failures": "workers_agent_dispatcher",
    "presence-failures": "workers_presence",
}
MADE_UP_FOR = ("timer-failures", "tools-failures")
"""Of what is done again and again: the next run has done what a failed one left."""

QUEUES = (
    "agent-dead-letters",
    "agent-crowded-dead-letters",
    "departures-dead-letters",
    "catch-up-dead-letters",
    "rooms-dead-letters",
    *MADE_UP_FOR,
    *PARKING,
    *FAILURES,
)

FIFO = frozenset({"rooms", "rooms-dead-letters"})

VISIBILITY_SECONDS = 120
"""A message that cannot be put back is seen again after that."""


class ParkedRange(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")

    channel_id: str
    from_seq: int
    to_seq: int


class StreamBatch(BaseModel):
    """The part of Lambda's failure notice that says where the records are."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")

    shard_id: str
    start_sequence_number: str
    end_sequence_number: str
    stream_arn: str


class FailureNotice(BaseModel):
    batch: StreamBatch = Field(alias="DDBStreamBatchInfo")


@dataclass(frozen=True)
class Redriven:
    """How many messages went back to work, and how many stay."""

    done: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Redriver:
    """Works on the queues of one stage."""

    stage: str
    sqs: "SQSClient"
    functions: "LambdaClient"
    streams: "DynamoDBStreamsClient"
    repository: IRepository

    def redrive(self, queue: str) -> Redriven:
        """Takes every message that the queue holds now, once.

        Raises:
            DevstackError: there is no such queue.
        """
        url = self._url(queue)
        work = self._work_of(queue)
        done = left = 0
        for message in self._messages(url):
            if work(message["MessageId"], message["Body"]):
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                done += 1
            else:
                left += 1
        return Redriven(done=done, left=left)

    def _work_of(self, queue: str) -> Work:
        if queue.endswith(DEAD_LETTERS):
            source = self._url(queue.removesuffix(DEAD_LETTERS))
            return lambda _id, body: self._send(source, body)
        if queue in MADE_UP_FOR:
            return lambda _id, _body: True
        if queue == "delivery-parking":
            return self._deliver_range
        if queue in PARKING:
            return self._dispatch_range
        return lambda _id, body: self._replay(FAILURES[queue], body)

    def _url(self, queue: str) -> str:
        name = f"chat-{self.stage}-{queue}{".fifo" if queue in FIFO else ""}"
        try:
            return self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        except ClientError as error:
            raise DevstackError(
                f"There is no queue {name}; QUEUE is one of {', '.join(QUEUES)}."
            ) from error

    def _messages(self, url: str) -> Iterator["MessageTypeDef"]:
        """No message twice: what was received stays hidden while this runs."""
        while messages := self.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=VISIBILITY_SECONDS,
            WaitTimeSeconds=1,
        ).get("Messages"):
            yield from messages

    def _send(self, url: str, body: str) -> bool:
        if url.endswith(".fifo"):
            # In no order to what is there: a room's range is as good later.
            fresh = uuid4().hex
            self.sqs.send_message(
                QueueUrl=url, MessageBody=body, MessageGroupId=fresh, MessageDeduplicationId=fresh
            )
        else:
            self.sqs.send_message(QueueUrl=url, MessageBody=body)
        return True

    def _deliver_range(self, message_id: str, body: str) -> bool:
        """Delivery takes a parked range as it is, in the shape of a queue's record."""
        record = {"messageId": message_id, "eventSource": "aws:sqs", "body": body}
        return self._invoke(PARKING["delivery-parking"], [record])

    def _dispatch_range(self, message_id: str, body: str) -> bool:
        """The dispatcher takes items as the streams insert them: questions and regenerations."""
        parked = ParkedRange.model_validate_json(body)
        items = list(
            self.repository.iterate(
                Query(
                    table=Table.CHAT_EVENTS,
                    partition=parked.channel_id,
                    sort=SortBetween(parked.from_seq, parked.to_seq),
                )
            )
        )
        for seq in range(parked.from_seq, parked.to_seq + 1):
            items += self.repository.iterate(
                Query(
                    table=Table.CHANNELS,
                    partition=channel_partition(parked.channel_id),
                    sort=SortPrefix(generation_prefix(seq)),
                )
            )
        records = [
            {
                "eventName": "INSERT",
                "eventSource": "aws:dynamodb",
                "dynamodb": {
                    "Keys": {},
                    "NewImage": serialize_item(item),
                    "SequenceNumber": f"{message_id}-{position}",
                },
            }
            for position, item in enumerate(items)
        ]
        return not records or self._invoke(PARKING["dispatcher-parking"], records)

    def _replay(self, function: str, body: str) -> bool:
        """Hands the stream's own records over again, if it still holds them."""
        batch = FailureNotice.model_validate_json(body).batch
        try:
            iterator: str | None = self.streams.get_shard_iterator(
                StreamArn=batch.stream_arn,
                ShardId=batch.shard_id,
                ShardIteratorType="AT_SEQUENCE_NUMBER",
                SequenceNumber=batch.start_sequence_number,
            )["ShardIterator"]
        except self.streams.exceptions.TrimmedDataAccessException:
            return False
        last = int(batch.end_sequence_number)
        records: list[Json] = []
        while iterator is not None:
            page = self.streams.get_records(ShardIterator=iterator, Limit=1000)
            wanted = [
                cast("Json", record)
                for record in page["Records"]
                if int(record["dynamodb"]["SequenceNumber"]) <= last
            ]
            records += wanted
            if len(wanted) < len(page["Records"]) or not page["Records"]:
                break
            iterator = page.get("NextShardIterator")
        return self._invoke(
            function, [record | {"eventSourceARN": batch.stream_arn} for record in records]
        )

    def _invoke(self, function: str, records: list[Json]) -> bool:
        answer = self.functions.invoke(
            FunctionName=f"chat-{self.stage}-{function}",
            Payload=json.dumps({"Records": records}, default=_as_lambda_writes).encode(),
        )
        result = json.loads(answer["Payload"].read())
        return "FunctionError" not in answer and not result.get("batchItemFailures")


def _as_lambda_writes(value: object) -> str | float:
    """How Lambda spells in JSON what boto3 returns as objects."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dt.datetime():
            return value.timestamp()
    raise TypeError(f"no JSON for {type(value).__name__}")


def redriver(stage: str, clients: AwsClients) -> Redriver:
    """For the stage's queues; its tables bear the names that the data stack gives them."""
    names = {table: f"chat-{stage}-{table.value}" for table in Table}
    return Redriver(
        stage=stage,
        sqs=clients.sqs(),
        functions=clients.functions(),
        streams=clients.streams(),
        repository=DynamoDBRepository(names, client=clients.dynamodb()),
    )
