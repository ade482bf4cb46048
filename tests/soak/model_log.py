"""How often the demo model was asked, and whether anybody paid for what was laid down already."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from devstack.local_stack import LocalStack

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

OPEN = "open#"


@dataclass(frozen=True, slots=True)
class LaidDown:
    """The moment from which a reply's text was in its row, whole; epoch seconds."""

    channel: str
    question: int
    generation: int
    at: float


def asked(stack: LocalStack, match: str) -> list[dict[str, Any]]:
    """What the demo model remembers of the requests whose question holds that."""
    record = stack._model.running()
    assert record is not None
    url = f"http://127.0.0.1:{record.port}/requests"
    answer: list[dict[str, Any]] = httpx.get(url, params={"match": match}, timeout=30).json()[
        "requests"
    ]
    return answer


def laid_down(stack: LocalStack) -> Iterator[LaidDown]:
    """Of every reply that the stream of the channels table still knows, the first time each."""
    known: set[tuple[str, int, int]] = set()
    for record in _records(stack.clients.streams()):
        image = record["dynamodb"].get("NewImage", {})
        if not image.get("pk", {}).get("S", "").startswith(OPEN) or "finished" not in image:
            continue
        channel = image["channel_id"]["S"]
        subject = (channel, int(image["question_seq"]["N"]), int(image["generation"]["N"]))
        if subject not in known:
            known.add(subject)
            # The emulator's numbers begin with the moment, in milliseconds.
            moment = int(record["dynamodb"]["SequenceNumber"][:20]) / 1_000
            yield LaidDown(*subject, moment)


def _records(streams: "DynamoDBStreamsClient") -> Iterator[Any]:
    (stream,) = (
        each for each in streams.list_streams()["Streams"] if each["TableName"].endswith("channels")
    )
    arn = stream["StreamArn"]
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator: str | None = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator is not None:
            page = streams.get_records(ShardIterator=iterator, Limit=1000)
            yield from page["Records"]
            iterator = page.get("NextShardIterator") if page["Records"] else None
