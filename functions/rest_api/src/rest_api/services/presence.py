"""Who is listening to a channel."""

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from commons.clock import epoch_seconds
from commons.dal import IRepository
from commons.pages import that_fit
from commons.records.connection import Subscription
from commons.schemas.caller import Caller
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown
from commons.services.subscriptions import SubscriptionsService
from rest_api.schemas import Presence

_ROWS_AT_ONCE: Final = 500
_MAX_ROWS: Final = 5_000
"""About 1 MB."""


@dataclass(frozen=True, slots=True)
class ListenersPage:
    """Listeners by user id; `next_after` is the user id that the list goes on past."""

    items: list[Presence]
    next_after: str | None


class PresenceService(BaseService):
    """Presence as the subscriptions say it: right at once, nothing to keep up to date."""

    def __init__(self, repository: IRepository | None = None) -> None:
        super().__init__(repository)
        self._reader = ChannelReader(self.repository)
        self._subscriptions = SubscriptionsService(self.repository)

    def page(
        self, channel_id: str, caller: Caller, *, limit: int, after: str | None = None
    ) -> Shown[ListenersPage]:
        """Users with a live subscription to the channel, from past `after` on.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
        """
        return self._reader.show(
            channel_id, caller.user_id, lambda: self._listeners(channel_id, limit, after)
        )

    def _listeners(self, channel_id: str, limit: int, after: str | None) -> ListenersPage:
        rows, follows = self._rows(channel_id, limit, after)
        counts = Counter(row.user_id for row in rows if _is_live(row))
        listeners = [
            Presence(user_id=user_id, connections=connections)
            for user_id, connections in sorted(counts.items())
        ]
        shown = list(that_fit(listeners[:limit]))
        return ListenersPage(shown, shown[-1].user_id if len(shown) < len(listeners) else follows)

    def _rows(
        self, channel_id: str, limit: int, after: str | None
    ) -> tuple[list[Subscription], str | None]:
        """Whole users' subscriptions, of one more than the page shows where there are so many.

        Returns:
            And the last of these users, where others follow.
        """
        rows: list[Subscription] = []
        users: set[str] = set()
        walk = self._subscriptions.walk(channel_id, page=_ROWS_AT_ONCE, past_user=after)
        for user_id, of_user in groupby(walk, key=lambda row: row.user_id):
            if rows and (len(users) > limit or len(rows) >= _MAX_ROWS):
                return rows, rows[-1].user_id
            some = list(of_user)
            rows += some
            if any(map(_is_live, some)):
                users.add(user_id)
        return rows, None


def _is_live(row: Subscription) -> bool:
    return row.state == "live" and row.expires_at > epoch_seconds()
