"""The queues as the dispatcher uses them."""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from commons.queues import QueueMessage, SqsQueue
from commons.schemas.generation import GenerationRequest
from workers_agent_dispatcher.schemas import Parked, Question

REMINDER_SECONDS: Final = 30
"""A worker that dies as it starts has not said yet how long its messages are to be hidden: they stay
hidden for the queue's own half hour. So each question has a second message, seen after this. Where
the reply has ended by then, it costs a read."""


class IQueue(Protocol):
    """Where the dispatcher's findings go."""

    def ask(self, questions: Sequence[Question]) -> list[int]:
        """Queues them; returns the positions of those that were not taken."""
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
        crowded: of the questions of channels that ask much at once.
        parking: of what could not be dispatched.
    """

    def __init__(self, questions: SqsQueue, crowded: SqsQueue, parking: SqsQueue) -> None:
        self._questions = questions
        self._crowded = crowded
        self._parking = parking

    def ask(self, questions: Sequence[Question]) -> list[int]:
        refused: list[int] = []
        for queue, is_crowded in ((self._questions, False), (self._crowded, True)):
            of_queue = [
                (position, question.request)
                for position, question in enumerate(questions)
                if question.is_crowded is is_crowded
            ]
            missed = queue.send_all(
                [message for _, request in of_queue for message in _messages(request)]
            )
            # A reminder that is not taken only costs time, and that only where a worker dies.
            refused += [of_queue[each // 2][0] for each in missed if each % 2 == 0]
        return sorted(refused)

    def park(self, parked: Parked) -> None:
        self._parking.send(QueueMessage(parked.to_json()))


def _messages(request: GenerationRequest) -> Iterator[QueueMessage]:
    """The question, and its reminder."""
    for delay_seconds in (0, REMINDER_SECONDS):
        yield QueueMessage(request.to_json(), group=request.channel_id, delay_seconds=delay_seconds)
