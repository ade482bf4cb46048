"""The agent's queues as its worker uses them."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from commons.dynamodb.exceptions import RepositoryError
from commons.errors import UnavailableError
from commons.observability import log
from commons.queues import QueueMessage, SqsQueue
from commons.schemas.generation import GenerationRequest
from workers_agent.schemas import Delivery


class IAgentQueue(Protocol):
    """Where questions come from."""

    def take(self, queue_name: str, most: int, *, hidden_seconds: int) -> list[Delivery]:
        """Questions that wait in a queue at this moment; best effort."""
        ...

    def finish(self, delivery: Delivery) -> None:
        """Takes a message out whose question is done with; best effort: it finds that if it comes again."""
        ...

    def hide(self, deliveries: Sequence[Delivery], seconds: int) -> None:
        """Keeps messages from other workers for so long from now; best effort."""
        ...

    def put_back(
        self, delivery: Delivery, request: GenerationRequest, *, delay_seconds: int
    ) -> bool:
        """Queues the request where the message came from; False where that failed.

        It is seen after the delay.
        """
        ...


class SqsAgentQueues:
    """IAgentQueue over SQS.

    Args:
        queues: any of which a message may come from.
    """

    def __init__(self, queues: Iterable[SqsQueue]) -> None:
        self._queues = {queue.name: queue for queue in queues}

    def take(self, queue_name: str, most: int, *, hidden_seconds: int) -> list[Delivery]:
        return [
            Delivery.read(each.message_id, each.receipt_handle, each.body, queue_name=queue_name)
            for each in self._queues[queue_name].receive(most, hidden_seconds=hidden_seconds)
        ]

    def finish(self, delivery: Delivery) -> None:
        self._queues[delivery.queue_name].delete([delivery.receipt_handle])

    def hide(self, deliveries: Sequence[Delivery], seconds: int) -> None:
        for name, some in groupby(deliveries, attrgetter("queue_name")):
            self._queues[name].hide([each.receipt_handle for each in some], seconds)

    def put_back(
        self, delivery: Delivery, request: GenerationRequest, *, delay_seconds: int
    ) -> bool:
        message = QueueMessage(
            request.to_json(), group=request.channel_id, delay_seconds=delay_seconds
        )
        try:
            self._queues[delivery.queue_name].send(message)
        except (UnavailableError, RepositoryError) as error:
            log.warning("request not put back", error=type(error).__name__)
            return False
        return True
