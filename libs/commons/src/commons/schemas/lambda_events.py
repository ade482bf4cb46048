"""What Lambda hands to the workers, as far as they read it, and what they answer."""

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from typing_extensions import TypeIs

type Image = dict[str, dict[str, object]]
"""An item in the stream's own JSON."""


class StreamChange(TypedDict):
    """The part of a stream record that speaks of the item."""

    Keys: Image
    SequenceNumber: str
    NewImage: NotRequired[Image]
    OldImage: NotRequired[Image]


class StreamRecord(TypedDict):
    """A record of a table's stream."""

    eventName: Literal["INSERT", "MODIFY", "REMOVE"]
    eventSource: Literal["aws:dynamodb"]
    dynamodb: StreamChange


class QueueAttributes(TypedDict):
    ApproximateReceiveCount: str


class QueueRecord(TypedDict):
    messageId: str
    receiptHandle: str
    eventSource: Literal["aws:sqs"]
    eventSourceARN: str
    attributes: QueueAttributes
    body: str


class StreamEvent(TypedDict):
    Records: list[StreamRecord]


class QueueEvent(TypedDict):
    Records: list[QueueRecord]


type WorkerEvent = StreamEvent | QueueEvent
"""A batch from one source: Lambda never mixes them."""


def is_queue_event(event: WorkerEvent) -> "TypeIs[QueueEvent]":
    return any(record.get("eventSource") == "aws:sqs" for record in event["Records"])


class BatchItemFailure(TypedDict):
    """A sequence number (a stream) or a message id (a queue)."""

    itemIdentifier: str


class BatchResponse(TypedDict):
    """What is to be handed over again; a stream goes on from the first of them."""

    batchItemFailures: list[BatchItemFailure]
