"""What the dispatcher sends, and what it makes of messages that SQS did not take."""

from collections.abc import Sequence

from commons.queues import QueueMessage, SqsQueue
from commons.schemas.generation import GenerationRequest
from workers_agent_dispatcher.queue import REMINDER_SECONDS, SqsQueues
from workers_agent_dispatcher.schemas import Question


class RefusingQueue(SqsQueue):
    """Takes every message but those at some positions."""

    def __init__(self, *refused: int) -> None:
        self._refused = list(refused)
        self.sent: list[QueueMessage] = []

    def send_all(self, messages: Sequence[QueueMessage]) -> list[int]:
        self.sent += messages
        return self._refused


def _requests(count: int) -> list[GenerationRequest]:
    return [
        GenerationRequest(channel_id="c", question_seq=seq, generation=1, correlation_id=None)
        for seq in range(1, count + 1)
    ]


def _questions(count: int, *crowded: int) -> list[Question]:
    return [
        Question(request, is_crowded=request.question_seq in crowded)
        for request in _requests(count)
    ]


def test_each_question_is_seen_at_once_and_again_after_a_while() -> None:
    questions = RefusingQueue()

    undone = SqsQueues(questions, RefusingQueue(), RefusingQueue()).ask(_questions(2))

    assert undone == []
    assert [(message.body, message.delay_seconds) for message in questions.sent] == [
        (request.to_json(), delay) for request in _requests(2) for delay in (0, REMINDER_SECONDS)
    ]


def test_a_question_that_was_not_taken_is_undone_whatever_became_of_its_reminder() -> None:
    question_of_second, reminder_of_first = 2, 1

    questions = RefusingQueue(reminder_of_first, question_of_second)
    queues = SqsQueues(questions, RefusingQueue(), RefusingQueue())

    assert queues.ask(_questions(3)) == [1]


def test_questions_of_a_crowded_channel_wait_in_their_own_queue_with_their_reminders() -> None:
    questions, crowded = RefusingQueue(), RefusingQueue()

    SqsQueues(questions, crowded, RefusingQueue()).ask(_questions(3, 2, 3))

    first, second, third = [request.to_json() for request in _requests(3)]
    assert [message.body for message in questions.sent] == [first] * 2
    assert [message.body for message in crowded.sent] == [second] * 2 + [third] * 2


def test_what_either_queue_did_not_take_is_undone() -> None:
    first_of_either = 0
    queues = SqsQueues(
        RefusingQueue(first_of_either), RefusingQueue(first_of_either), RefusingQueue()
    )

    assert queues.ask(_questions(4, 1, 3)) == [0, 1]
