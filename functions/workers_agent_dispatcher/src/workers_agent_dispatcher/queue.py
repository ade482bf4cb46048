"""The two queues as the dispatcher uses them."""

from collections.abc import Sequence
from typing import Protocol

from commons.queues import QueueMessage, SqsQueue
from commons.schemas.generation import GenerationRequest
from workers_agent_dispatcher.schemas import Parked


class IQueue(Protocol):
    """Where the dispatcher's findings go."""

    def ask(self, requests: Sequence[GenerationRequest]) -> list[int]:
        """Queues the requests; returns the positions of those that were not taken."""
        ...

    def park(self, parked: Parked) -> None:
        """Lays aside what could not be done.

        Raises:
            StorageUnavailableError: not even that could be done.
        """
        ...


class SqsQueues:
    """IQueue over SQS.

    A channel's questions are one group: SQS's fair queues hand out first the groups that have
    little in work.

    Args:
        questions: the agent's queue.
        parking: of what could not be dispatched.
    """

    def __init__(self, questions: SqsQueue, parking: SqsQueue) -> None:
        self._questions = questions
        self._parking = parking

    def ask(self, requests: Sequence[GenerationRequest]) -> list[int]:
        return self._questions.send_all(
            [QueueMessage(request.to_json(), group=request.channel_id) for request in requests]
        )

    def park(self, parked: Parked) -> None:
        self._parking.send(QueueMessage(parked.to_json()))
