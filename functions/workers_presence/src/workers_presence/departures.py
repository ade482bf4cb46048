"""The queue in which departures wait for 5 s."""

from collections.abc import Sequence
from typing import Final, Protocol

from commons.queues import QueueMessage, SqsQueue
from workers_presence.schemas import Departure

GRACE_SECONDS: Final = 5
"""Who is back within that was never away (CONTRACT, section 3)."""


class IDepartures(Protocol):
    """Hands departures back after 5 s."""

    def postpone(self, departures: Sequence[Departure]) -> list[Departure]:
        """Queues the departures; returns those that were not taken."""
        ...


class SqsDepartures:
    """IDepartures over SQS."""

    def __init__(self, queue: SqsQueue) -> None:
        self._queue = queue

    def postpone(self, departures: Sequence[Departure]) -> list[Departure]:
        messages = [
            QueueMessage(departure.to_json(), delay_seconds=GRACE_SECONDS)
            for departure in departures
        ]
        return [departures[position] for position in self._queue.send_all(messages)]
