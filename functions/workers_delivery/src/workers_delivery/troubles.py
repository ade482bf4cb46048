"""Connections that did not take what they were sent: a batch shall not wait for them again."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from commons.bounded_memory import BoundedMemory

FIRST_PAUSE_SECONDS: Final = 2.0
MAX_PAUSE_SECONDS: Final = 30.0
MAX_ENTRIES: Final = 20_000
"""What failed longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class _Trouble:
    pause: float
    until: float


class Troubles:
    """A warm worker's memory; safe for threads.

    A connection that failed is left in peace for 2 s, and twice as long each time it fails again,
    up to 30 s. After that it is tried with the next batch.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._troubles: BoundedMemory[str, _Trouble] = BoundedMemory(MAX_ENTRIES)

    def is_known(self, connection_id: str) -> bool:
        """It failed the last time that it was tried."""
        return connection_id in self._troubles

    def is_quiet(self, connection_id: str) -> bool:
        """It is left in peace."""
        trouble = self._troubles.get(connection_id)
        return trouble is not None and self._clock() < trouble.until

    def note_failed(self, connection_ids: Iterable[str]) -> None:
        moment = self._clock()

        def longer(earlier: _Trouble | None) -> _Trouble:
            doubled = FIRST_PAUSE_SECONDS if earlier is None else 2 * earlier.pause
            pause = min(doubled, MAX_PAUSE_SECONDS)
            return _Trouble(pause, moment + pause)

        for connection_id in connection_ids:
            self._troubles.change(connection_id, longer)

    def note_over(self, connection_ids: Iterable[str]) -> None:
        """They took everything, or are gone."""
        for connection_id in connection_ids:
            self._troubles.forget(connection_id)
