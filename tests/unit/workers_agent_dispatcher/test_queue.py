"""What the dispatcher sends, and what it makes of messages that SQS did not take."""

from collections.abc import Sequence

from commons.queues import QueueMessage, SqsQueue
from commons.schemas.generation import GenerationRequest
from workers_agent_dispatcher.queue import REMINDER_SECONDS, SqsQueues


class RefusingQueue(SqsQueue):
    """Takes every message but those at some positions."""

    def __init__(self, *refused: int) -> None:
        self._refused = list(refused)
        self.sent: list[QueueMessage] = []

    def send_all(self, messages: Sequence[QueueMessage]) -> list[int]:
        self.sent += messages
        return self._refused


def _questions(count: int) -> list[GenerationRequest]:
    return [
        GenerationRequest(channel_id="c", question_seq=seq, generation=1, correlation_id=None)
        for seq in range(1, count + 1)
    ]


def test_each_question_is_seen_at_once_and_again_after_a_while() -> None:
    questions = RefusingQueue()

    undone = SqsQueues(questions, RefusingQueue()).ask(_questions(2))

    assert undone == []
    assert [(message.body, message.delay_seconds) for message in questions.sent] == [
        (request.to_json(), delay) for request in _questions(2) for delay in (0, REMINDER_SECONDS)
    ]


def test_a_question_that_was_not_taken_is_undone_whatever_became_of_its_reminder() -> None:
    question_of_second, reminder_of_first = 2, 1

    queues = SqsQueues(RefusingQueue(reminder_of_first, question_of_second), RefusingQueue())

    assert queues.ask(_questions(3)) == [1]
