"""The two queues as the dispatcher uses them."""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from commons.queues import QueueMessage, SqsQueue
from commons.schemas.generation import GenerationRequest
from workers_agent_dispatcher.schemas import Parked

REMINDER_SECONDS: Final = 30
"""A worker that dies as it starts has not said yet how long its messages are to be hidden: they stay
hidden for the queue's own half hour. So each question has a second message, seen after this. Where
the reply has ended by then, it costs a read."""


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
        missed = self._questions.send_all(
            [message for request in requests for message in _messages(request)]
        )
        # A reminder that is not taken only costs time, and that only where a worker dies.
        return [position // 2 for position in missed if position % 2 == 0]

    def park(self, parked: Parked) -> None:
        self._parking.send(QueueMessage(parked.to_json()))


def _messages(request: GenerationRequest) -> Iterator[QueueMessage]:
    """The question, and its reminder."""
    for delay_seconds in (0, REMINDER_SECONDS):
        yield QueueMessage(request.to_json(), group=request.channel_id, delay_seconds=delay_seconds)
