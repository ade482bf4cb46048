"""What a warm worker delivered before: spares reads and repeats, and nothing depends on it."""

from collections import OrderedDict
from threading import Lock
from typing import Final

from commons.records.connection import Subscription

MAX_ENTRIES: Final = 20_000
"""Some 4 MB; what was touched longest ago is forgotten first."""


class Progress:
    """How far delivery has come, by channel and by subscription; safe for threads."""

    def __init__(self) -> None:
        self._channels: OrderedDict[str, int] = OrderedDict()
        self._subscriptions: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._owed: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._lock = Lock()

    def channel(self, channel_id: str) -> int | None:
        with self._lock:
            return self._channels.get(channel_id)

    def subscription(self, subscription: Subscription) -> int:
        """0 where this worker has not served the subscription since it went live."""
        with self._lock:
            return self._subscriptions.get(_key(subscription), 0)

    def owed_after(self, subscription: Subscription) -> int | None:
        """The last event before those that the subscription did not take; None: it took all."""
        with self._lock:
            return self._owed.get(_key(subscription))

    def note_owed(self, subscription: Subscription, after: int) -> None:
        with self._lock:
            key = _key(subscription)
            self._owed[key] = min(after, self._owed.get(key, after))
            _bound(self._owed, key)

    def note_taken(self, subscription: Subscription) -> None:
        with self._lock:
            self._owed.pop(_key(subscription), None)

    def note_channel(self, channel_id: str, seq: int) -> None:
        with self._lock:
            _advance(self._channels, channel_id, seq)

    def note_subscription(self, subscription: Subscription, seq: int) -> None:
        with self._lock:
            _advance(self._subscriptions, _key(subscription), seq)


def _key(subscription: Subscription) -> tuple[str, str]:
    """A subscription that replayed anew is another: `live_since` tells them apart."""
    return (
        subscription.channel_id,
        f"{subscription.connection_id}@{subscription.live_since}",
    )


def _advance[K](entries: OrderedDict[K, int], key: K, seq: int) -> None:
    entries[key] = max(seq, entries.get(key, 0))
    _bound(entries, key)


def _bound[K](entries: OrderedDict[K, int], key: K) -> None:
    entries.move_to_end(key)
    if len(entries) > MAX_ENTRIES:
        entries.popitem(last=False)
