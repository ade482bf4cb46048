"""The queue for what could not be delivered."""

from typing import Protocol

from commons.queues import QueueMessage, SqsQueue
from workers_delivery.schemas import ParkedRange


class IParking(Protocol):
    """Where ranges are laid aside."""

    def park(self, parked: ParkedRange) -> None:
        """Lays a range aside.

        Raises:
            RepositoryError: not even that could be done.
        """
        ...


class SqsParking:
    """IParking over SQS."""

    def __init__(self, queue: SqsQueue) -> None:
        self._queue = queue

    def park(self, parked: ParkedRange) -> None:
        self._queue.send(QueueMessage(parked.to_json()))
