"""The worker's side of its queue, on moto's SQS."""

from commons.queues import SqsQueue
from commons.schemas.generation import GenerationRequest
from workers_agent.queue import SqsAgentQueue

from .queues import Queues


def test_a_question_put_back_stays_in_its_channels_group(queues: Queues) -> None:
    request = GenerationRequest(channel_id="abcdefghijklmnopqrstuv", question_seq=4, generation=1)

    assert SqsAgentQueue(SqsQueue(queues.agent_url)).put_back(request, delay_seconds=0)

    assert queues.groups() == ["abcdefghijklmnopqrstuv"]
