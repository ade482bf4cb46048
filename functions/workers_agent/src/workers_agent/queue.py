"""The agent's queue as its worker uses it."""

from collections.abc import Sequence
from typing import Protocol

from commons.errors import UnavailableError
from commons.observability import log
from commons.queues import QueueMessage, SqsQueue
from commons.schemas.generation import GenerationRequest


class IAgentQueue(Protocol):
    """The queue of questions."""

    def hide(self, receipt_handles: Sequence[str], seconds: int) -> None:
        """Keeps messages from other workers for so long from now; best effort."""
        ...

    def put_back(self, request: GenerationRequest, *, delay_seconds: int) -> bool:
        """Queues the request anew, to be seen after the delay; False where that failed."""
        ...


class SqsAgentQueue:
    """IAgentQueue over SQS."""

    def __init__(self, queue: SqsQueue) -> None:
        self._queue = queue

    def hide(self, receipt_handles: Sequence[str], seconds: int) -> None:
        self._queue.hide(receipt_handles, seconds)

    def put_back(self, request: GenerationRequest, *, delay_seconds: int) -> bool:
        message = QueueMessage(
            request.to_json(), group=request.channel_id, delay_seconds=delay_seconds
        )
        try:
            self._queue.send(message)
        except UnavailableError as error:
            log.warning("request not put back", error=type(error).__name__)
            return False
        return True
