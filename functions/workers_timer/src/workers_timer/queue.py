"""The agent's queues as the timer uses them."""

from typing import Protocol

from commons.queues import QueueMessage, SqsQueue
from commons.schemas.generation import GenerationRequest


class IAgentQueue(Protocol):
    """Wakes workers."""

    def ask(self, request: GenerationRequest, *, is_crowded: bool) -> None:
        """Queues the request, apart from everybody's where its channel is crowded.

        Raises:
            StorageUnavailableError: the queue did not take it.
        """
        ...


class SqsAgentQueues:
    """IAgentQueue over SQS."""

    def __init__(self, questions: SqsQueue, crowded: SqsQueue) -> None:
        self._questions = questions
        self._crowded = crowded

    def ask(self, request: GenerationRequest, *, is_crowded: bool) -> None:
        queue = self._crowded if is_crowded else self._questions
        queue.send(QueueMessage(request.to_json(), group=request.channel_id))
