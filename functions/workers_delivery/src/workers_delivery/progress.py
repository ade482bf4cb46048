"""What a warm worker delivered before: spares reads and repeats, and nothing depends on it."""

from collections.abc import Callable
from typing import Final

from commons.bounded_memory import BoundedMemory
from commons.records.connection import Subscription

MAX_ENTRIES: Final = 20_000
"""Some 4 MB; what was touched longest ago is forgotten first."""


class Progress:
    """How far delivery has come, by channel and by subscription; safe for threads."""

    def __init__(self) -> None:
        self._channels: BoundedMemory[str, int] = BoundedMemory(MAX_ENTRIES)
        self._subscriptions: BoundedMemory[tuple[str, str], int] = BoundedMemory(MAX_ENTRIES)
        self._owed: BoundedMemory[tuple[str, str], int] = BoundedMemory(MAX_ENTRIES)

    def channel(self, channel_id: str) -> int | None:
        return self._channels.get(channel_id)

    def subscription(self, subscription: Subscription) -> int:
        """0 where this worker has not served the subscription since it went live."""
        return self._subscriptions.get(_key(subscription)) or 0

    def owed_after(self, subscription: Subscription) -> int | None:
        """The last event before those that the subscription did not take; None: it took all."""
        return self._owed.get(_key(subscription))

    def note_owed(self, subscription: Subscription, after: int) -> None:
        self._owed.change(
            _key(subscription), lambda owed: after if owed is None else min(after, owed)
        )

    def note_taken(self, subscription: Subscription) -> None:
        self._owed.forget(_key(subscription))

    def note_channel(self, channel_id: str, seq: int) -> None:
        self._channels.change(channel_id, _at_least(seq))

    def note_subscription(self, subscription: Subscription, seq: int) -> None:
        self._subscriptions.change(_key(subscription), _at_least(seq))


def _key(subscription: Subscription) -> tuple[str, str]:
    """A subscription that replayed anew is another: `live_since` tells them apart."""
    return (
        subscription.channel_id,
        f"{subscription.connection_id}@{subscription.live_since}",
    )


def _at_least(seq: int) -> Callable[[int | None], int]:
    return lambda earlier: max(seq, earlier or 0)
