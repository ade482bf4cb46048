"""The agent's queue as the timer uses it."""

from typing import Protocol

from commons.queues import QueueMessage, SqsQueue
from commons.schemas.generation import GenerationRequest


class IAgentQueue(Protocol):
    """Wakes workers."""

    def ask(self, request: GenerationRequest) -> None:
        """Queues the request.

        Raises:
            StorageUnavailableError: the queue did not take it.
        """
        ...


class SqsAgentQueue:
    """IAgentQueue over SQS."""

    def __init__(self, queue: SqsQueue) -> None:
        self._queue = queue

    def ask(self, request: GenerationRequest) -> None:
        self._queue.send(QueueMessage(request.to_json(), group=request.channel_id))
