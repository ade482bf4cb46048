"""What a worker has at hand: the replies that it writes, each with its message."""

import asyncio
from collections.abc import Sequence
from typing import Final

from workers_agent.schemas import Delivery

MOST_AT_HAND: Final = 10
"""Replies that a worker writes at once: as many as a batch has."""


class AtHand:
    """Of one batch, and of what is taken while it is answered.

    Attributes:
        queue_name: where all of it came from.
        hidden: messages to be kept from other workers: those of the replies being written.
    """

    def __init__(self, batch: Sequence[Delivery]) -> None:
        self.queue_name: Final = batch[0].queue_name
        self.hidden = tuple(batch)
        self._has_ended = asyncio.Event()

    @property
    def writing(self) -> int:
        """Replies being written."""
        return len(self.hidden)

    @property
    def room(self) -> int:
        """For so many questions more."""
        return MOST_AT_HAND - self.writing

    @property
    def is_idle(self) -> bool:
        return not self.hidden

    async def is_idle_within(self, seconds: float) -> bool:
        """Waits until nothing is written any more."""
        try:
            await asyncio.wait_for(self._has_ended.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def add(self, delivery: Delivery) -> None:
        self.hidden = (*self.hidden, delivery)
        self._has_ended.clear()

    def end(self, delivery: Delivery) -> None:
        self.hidden = tuple(each for each in self.hidden if each is not delivery)
        if self.is_idle:
            self._has_ended.set()
