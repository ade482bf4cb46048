"""What the worker takes from its queue."""

from dataclasses import dataclass

from commons.schemas.generation import GenerationRequest


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message of the queue, in the hands of this worker.

    Attributes:
        request: None where the body is none that a dispatcher writes.
    """

    message_id: str
    receipt_handle: str
    request: GenerationRequest | None
