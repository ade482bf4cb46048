"""An agent's replies while they are asked for and written."""

from commons.schemas.base import BaseSchema


class GenerationRequest(BaseSchema):
    """What the dispatcher queues: which reply is to be written, never any text.

    Attributes:
        tries: how often storage failed while it was answered.
    """

    channel_id: str
    question_seq: int
    generation: int
    correlation_id: str | None = None
    tries: int = 0
