"""What the delivery worker is handed, and what it lays aside."""

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

from commons.schemas.base import BaseSchema

if TYPE_CHECKING:
    from typing_extensions import TypeIs

type ParkingReason = Literal["malformed", "storage", "too_large", "push", "internal"]
type Image = dict[str, dict[str, object]]


class StreamChange(TypedDict):
    """The part of a stream record that speaks of the item; the old image is never read."""

    Keys: Image
    SequenceNumber: str
    NewImage: NotRequired[Image]


class StreamRecord(TypedDict):
    """A record of the stream of chat_events."""

    eventName: Literal["INSERT", "MODIFY", "REMOVE"]
    eventSource: Literal["aws:dynamodb"]
    dynamodb: StreamChange


class QueueRecord(TypedDict):
    """A parked range that was put back to work; `body` is a ParkedRange."""

    messageId: str
    eventSource: Literal["aws:sqs"]
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


class ParkedRange(BaseSchema):
    """Events that were not delivered, by number only: redriving reads the log again."""

    channel_id: str
    from_seq: int
    to_seq: int
    reason: ParkingReason
