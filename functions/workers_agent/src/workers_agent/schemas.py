"""What the worker takes from its queue, and what it says to the function that calls tools."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, ValidationError

from commons.schemas.base import BaseSchema
from commons.schemas.generation import GenerationRequest


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message of a queue, in the hands of this worker.

    Attributes:
        queue_name: of the queue it came from.
        request: None where the body is none that a dispatcher writes.
    """

    message_id: str
    receipt_handle: str
    request: GenerationRequest | None
    queue_name: str

    @classmethod
    def read(
        cls, message_id: str, receipt_handle: str, body: str, *, queue_name: str
    ) -> "Delivery":
        try:
            request = GenerationRequest.model_validate_json(body)
        except ValidationError:
            request = None
        return cls(message_id, receipt_handle, request, queue_name)


class ToolRequest(BaseSchema):
    """What the tools' function is asked: one call.

    Attributes:
        call_id: goes along to the server as idempotency key.
    """

    action: Literal["call"] = "call"
    server: str
    tool: str
    arguments: dict[str, Any]
    call_id: str
    timeout_seconds: float


class ToolAnswer(BaseSchema):
    """What the tools' function answers.

    Attributes:
        text: for the model.
        truncated: the tool said more.
        reason: of an error; a newer function may know more.
    """

    model_config = ConfigDict(extra="ignore")

    outcome: Literal["ok", "error"]
    text: str = ""
    truncated: bool = False
    reason: str | None = None
