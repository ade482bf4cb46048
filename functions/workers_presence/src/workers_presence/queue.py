"""The queue in which checks wait until they are due."""

from collections.abc import Mapping
from typing import Protocol

from commons.queues import QueueMessage, SqsQueue
from workers_presence.schemas import Check


class IChecks(Protocol):
    """Hands checks back once they are due."""

    def put(self, checks: Mapping[Check, int]) -> list[Check]:
        """Queues checks, each for so many seconds; returns those that were not taken."""
        ...


class SqsChecks:
    """IChecks over SQS."""

    def __init__(self, queue: SqsQueue) -> None:
        self._queue = queue

    def put(self, checks: Mapping[Check, int]) -> list[Check]:
        messages = [
            QueueMessage(check.to_json(), delay_seconds=seconds)
            for check, seconds in checks.items()
        ]
        missed = self._queue.send_all(messages)
        queued = list(checks)
        return [queued[position] for position in missed]
