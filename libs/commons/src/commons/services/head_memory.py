"""What a warm process knows of the channels' logs: their heads, and who else writes there."""

from dataclasses import dataclass, replace
from typing import Final
from weakref import WeakKeyDictionary

from commons.bounded_memory import BoundedMemory
from commons.dal import IRepository

MAX_CHANNELS: Final = 10_000
"""Some 3 MB."""

TRUSTED_SECONDS: Final = 1.0
"""A head known for longer is read again: reading costs less than a lost write."""

FIRST_PATIENCE: Final = 4
MAX_PATIENCE: Final = 64
"""Own writes that followed each other before a channel is taken to have no other writer: twice as
many each time that this was wrong, for being wrong costs three calls and being right saves one."""

MAX_WINDOW_SECONDS: Final = 0.75
SHRINKING: Final = 0.9
"""Of the window at each append that won. Each lost try widens it by twice as long as a try takes. In
balance an append of ten writers loses one or two tries, of twenty two or three."""

HALF_LIFE_SECONDS: Final = 2.0
"""Of the window while nothing is lost."""


@dataclass(frozen=True, slots=True)
class _Channel:
    """What is known of one channel.

    Attributes:
        head: a number that exists in the log; never ahead of it, perhaps behind.
        known_at: when that was so.
        own: the last number that this process wrote.
        is_shared: others write here too: the head is read before each append.
        alone: heads read in a row that were this process's own last number.
        patience: how many such heads it takes until the next one is not read.
        window: seconds within which those who want to write here spread their tries.
        window_at: when that was so.
        is_closed: the channel was deleted.
    """

    head: int = 0
    known_at: float = 0.0
    own: int = 0
    is_shared: bool = False
    alone: int = 0
    patience: int = FIRST_PATIENCE
    window: float = 0.0
    window_at: float = 0.0
    is_closed: bool = False

    def window_now(self, moment: float) -> float:
        return self.window * float(0.5 ** ((moment - self.window_at) / HALF_LIFE_SECONDS))


_NOTHING: Final = _Channel()


class HeadMemory:
    """Spares reads, pauses and lost writes. The put at head + 1 alone decides.

    Moments are seconds of a clock that never goes back.
    """

    def __init__(self) -> None:
        self._channels: BoundedMemory[str, _Channel] = BoundedMemory(MAX_CHANNELS)

    def head(self, channel_id: str, moment: float) -> int | None:
        """The head, where it is worth a try; None where it is to be read."""
        known = self._channels.get(channel_id)
        if known is None or known.is_shared or moment - known.known_at > TRUSTED_SECONDS:
            return None
        return known.head

    def highest(self, channel_id: str) -> int:
        """A number that exists in the log; 0 where none is known."""
        return (self._channels.get(channel_id) or _NOTHING).head

    def window(self, channel_id: str, moment: float) -> float:
        """Seconds within which an append is to choose its moment; 0 where nobody is in the way."""
        return (self._channels.get(channel_id) or _NOTHING).window_now(moment)

    def is_closed(self, channel_id: str) -> bool:
        return (self._channels.get(channel_id) or _NOTHING).is_closed

    def note_closed(self, channel_id: str) -> None:
        self._channels.set(channel_id, _Channel(is_closed=True))

    def note_read(self, channel_id: str, head: int, moment: float, *, is_recent: bool) -> None:
        """What was read, which may lag; `is_recent`: the event was appended a moment ago."""

        def change(known: _Channel | None) -> _Channel:
            known = known or _NOTHING
            if head < known.head:
                return known
            has_others = head > known.own and (known.own > 0 or is_recent)
            alone = 0 if has_others else known.alone + 1
            is_shared = has_others or (known.is_shared and alone < known.patience)
            return replace(known, head=head, known_at=moment, alone=alone, is_shared=is_shared)

        self._channels.change(channel_id, change)

    def note_written(self, channel_id: str, seq: int, moment: float) -> None:
        """This process appended an event."""

        def change(known: _Channel | None) -> _Channel:
            known = known or _NOTHING
            return replace(
                known,
                head=max(seq, known.head),
                known_at=moment,
                own=max(seq, known.own),
                window=known.window_now(moment) * SHRINKING,
                window_at=moment,
            )

        self._channels.change(channel_id, change)

    def note_stale(self, channel_id: str) -> None:
        """The head that was known had been passed long ago: others write here."""

        def change(known: _Channel | None) -> _Channel:
            known = known or _NOTHING
            patience = min(2 * known.patience, MAX_PATIENCE)
            return replace(known, is_shared=True, alone=0, patience=patience)

        self._channels.change(channel_id, change)

    def note_lost(self, channel_id: str, moment: float, *, widen_by: float) -> None:
        """Another writer was faster."""

        def change(known: _Channel | None) -> _Channel:
            known = known or _NOTHING
            window = min(known.window_now(moment) + widen_by, MAX_WINDOW_SECONDS)
            return replace(known, is_shared=True, alone=0, window=window, window_at=moment)

        self._channels.change(channel_id, change)


_HEADS: WeakKeyDictionary[IRepository, HeadMemory] = WeakKeyDictionary()


def head_memory_of(repository: IRepository) -> HeadMemory:
    """One memory a repository, shared by all services on it."""
    return _HEADS.setdefault(repository, HeadMemory())
