"""What a warm process remembers: bounded, safe for threads, and never relied on."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock


class BoundedMemory[K, V]:
    """Values by key; what was written longest ago is forgotten first.

    Args:
        limit: entries kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            return self._entries.get(key)

    def change(self, key: K, change: Callable[[V | None], V]) -> V:
        """Replaces the value by what `change` makes of it; None: nothing is remembered."""
        with self._lock:
            value = change(self._entries.get(key))
            self._entries[key] = value
            self._entries.move_to_end(key)
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)
            return value

    def set(self, key: K, value: V) -> None:
        self.change(key, lambda _earlier: value)

    def forget(self, key: K) -> None:
        with self._lock:
            self._entries.pop(key, None)

    def __contains__(self, key: K) -> bool:
        with self._lock:
            return key in self._entries
