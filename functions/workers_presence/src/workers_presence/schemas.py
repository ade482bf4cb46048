"""What the presence worker is handed, and what it hands to itself for later."""

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

from commons.schemas.base import BaseSchema

if TYPE_CHECKING:
    from typing_extensions import TypeIs

type Image = dict[str, dict[str, object]]


class StreamChange(TypedDict):
    Keys: Image
    SequenceNumber: str
    NewImage: NotRequired[Image]
    OldImage: NotRequired[Image]


class StreamRecord(TypedDict):
    """A record of the stream of connections."""

    eventName: Literal["INSERT", "MODIFY", "REMOVE"]
    eventSource: Literal["aws:dynamodb"]
    dynamodb: StreamChange


class QueueRecord(TypedDict):
    """`body` is a Departure, 5 s old."""

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
    batchItemFailures: list[BatchItemFailure]


class Departure(BaseSchema):
    """A user's last subscription to a channel ended.

    Attributes:
        mark: tells this departure from later ones of the same user.
    """

    channel_id: str
    user_id: str
    mark: str
