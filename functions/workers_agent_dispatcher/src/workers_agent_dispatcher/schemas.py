"""What the dispatcher reads off the streams, and what it parks."""

from dataclasses import dataclass

from commons.schemas.base import BaseSchema
from commons.schemas.generation import GenerationRequest


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A record of one of the two streams that concerns the agent.

    Attributes:
        sequence_number: the stream's, by which a batch is resumed.
        channel_id: None, like `seq`, where the record shows neither.
        seq: of the question.
        image: the item as it was inserted.
    """

    sequence_number: str
    channel_id: str | None
    seq: int | None
    image: dict[str, object]


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be queued.

    Attributes:
        request: which reply is to be written.
        is_crowded: it waits apart from everybody's, because its channel asks so much.
    """

    request: GenerationRequest
    is_crowded: bool


class Parked(BaseSchema):
    """Questions that could not be dispatched: never their text."""

    channel_id: str
    from_seq: int
    to_seq: int
    reason: str
