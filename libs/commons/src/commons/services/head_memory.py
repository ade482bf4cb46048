"""The heads of logs that a warm function remembers."""

from collections import OrderedDict
from threading import Lock
from weakref import WeakKeyDictionary

from commons.dal import IRepository

MAX_HEADS = 10_000
"""Some 2 MB; the channels touched longest ago are forgotten first."""


class HeadMemory:
    """Numbers that exist in each channel's log: never ahead of it, perhaps behind."""

    def __init__(self) -> None:
        self._heads: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()

    def get(self, channel_id: str) -> int | None:
        with self._lock:
            return self._heads.get(channel_id)

    def set(self, channel_id: str, seq: int) -> None:
        with self._lock:
            self._heads[channel_id] = max(seq, self._heads.get(channel_id, 0))
            self._heads.move_to_end(channel_id)
            if len(self._heads) > MAX_HEADS:
                self._heads.popitem(last=False)


_HEADS: WeakKeyDictionary[IRepository, HeadMemory] = WeakKeyDictionary()


def head_memory_of(repository: IRepository) -> HeadMemory:
    """One memory a repository, shared by all services on it."""
    return _HEADS.setdefault(repository, HeadMemory())
