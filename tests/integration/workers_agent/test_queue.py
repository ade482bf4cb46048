"""The worker's side of its queues, on moto's SQS."""

from commons.queues import QueueMessage, SqsQueue
from commons.schemas.generation import GenerationRequest
from workers_agent.queue import SqsAgentQueues
from workers_agent.schemas import Delivery

from .queues import Queues

CHANNEL = "abcdefghijklmnopqrstuv"
REQUEST = GenerationRequest(channel_id=CHANNEL, question_seq=4, generation=1)
CROWDED, AGENT = "chat-test-agent-crowded", "chat-test-agent"


def worker_queues(queues: Queues) -> SqsAgentQueues:
    return SqsAgentQueues([SqsQueue(queues.agent_url), SqsQueue(queues.crowded_url)])


def delivery(queue_name: str, receipt_handle: str = "receipt") -> Delivery:
    return Delivery("message", receipt_handle, REQUEST, queue_name)


def test_a_question_put_back_stays_in_its_channels_group(queues: Queues) -> None:
    assert worker_queues(queues).put_back(delivery(AGENT), REQUEST, delay_seconds=0)

    assert queues.groups() == [CHANNEL]


def test_a_question_of_a_crowded_channel_is_put_back_where_it_came_from(queues: Queues) -> None:
    assert worker_queues(queues).put_back(delivery(CROWDED), REQUEST, delay_seconds=0)

    assert queues.asked() == []
    assert queues.groups(queues.crowded_url) == [CHANNEL]


def test_messages_are_hidden_in_the_queue_they_came_from(queues: Queues) -> None:
    SqsQueue(queues.crowded_url).send(QueueMessage(REQUEST.to_json(), group=CHANNEL))
    (received,) = queues.sqs.receive_message(QueueUrl=queues.crowded_url, VisibilityTimeout=0)[
        "Messages"
    ]

    worker_queues(queues).hide([delivery(CROWDED, received["ReceiptHandle"])], 60)

    assert queues.crowded() == []


def test_further_questions_are_taken_from_the_queue_of_the_batch_and_finished_there(
    queues: Queues,
) -> None:
    worker = worker_queues(queues)
    SqsQueue(queues.crowded_url).send(QueueMessage(REQUEST.to_json(), group=CHANNEL))

    assert worker.take(AGENT, 10, hidden_seconds=30) == []
    (taken,) = worker.take(CROWDED, 10, hidden_seconds=0)
    worker.finish(taken)

    assert (taken.request, taken.queue_name) == (REQUEST, CROWDED)
    assert queues.crowded() == []


def test_a_question_that_the_queue_refuses_is_not_put_back_and_fails_no_other(
    queues: Queues,
) -> None:
    queues.sqs.delete_queue(QueueUrl=queues.agent_url)

    assert not worker_queues(queues).put_back(delivery(AGENT), REQUEST, delay_seconds=0)
