"""Who is in a channel, and who of them is to be told."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from commons.dal import IRepository
from commons.records.connection import Subscription
from commons.services.base import BaseService
from commons.services.subscriptions import SubscriptionsService

MAX_LISTENERS: Final = 200
"""Above so many live connections a channel's presence is asked for (CONTRACT, section 3)."""

_MAX_ROWS: Final = 2 * MAX_LISTENERS
"""Some 140 KB, one call. Those that expired and those that replay do not count, but are read."""


@dataclass(frozen=True, slots=True)
class Room:
    """A channel as some of its users see it.

    Attributes:
        there: those of the users who have a live subscription.
        listeners: who is to be told; nobody where the channel is too large for that.
    """

    there: frozenset[str]
    listeners: Sequence[Subscription]


class RoomsService(BaseService):
    """Reads channels' subscriptions.

    Args:
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        subscriptions: SubscriptionsService,
        clock: Callable[[], int],
    ) -> None:
        super().__init__(repository)
        self._subscriptions = subscriptions
        self._clock = clock

    def look(self, channel_id: str, user_ids: Collection[str]) -> Room:
        """One call; in a large channel one more for each of the users."""
        rows, are_all = self._subscriptions.first_of_room(channel_id, _MAX_ROWS)
        listeners = self._live(rows)
        if not are_all:
            rows = [
                row for each in user_ids for row in self._subscriptions.of_user(channel_id, each)
            ]
        there = frozenset(row.user_id for row in self._live(rows)) & frozenset(user_ids)
        return Room(there, listeners if are_all and len(listeners) <= MAX_LISTENERS else ())

    def _live(self, rows: Iterable[Subscription]) -> list[Subscription]:
        moment = self._clock() // 1_000
        return [row for row in rows if row.state == "live" and row.expires_at > moment]
