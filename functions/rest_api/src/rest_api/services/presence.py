"""Who is listening to a channel."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from commons import keys
from commons.clock import epoch_seconds
from commons.dal import IRepository, Key, Query, SortBetween, Table
from commons.pages import that_fit
from commons.records.connection import Subscription
from commons.schemas.caller import Caller
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown
from rest_api.schemas import Presence

_ROWS_AT_ONCE: Final = 500
_MAX_ROWS: Final = 5_000
"""About 1 MB. A user has 200 connections at most, so a page never ends without a user."""


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
        rows, last_key = self._rows(channel_id, limit, after)
        counts = Counter(row.user_id for row in rows if _is_live(row))
        follows: str | None = None
        if last_key is not None:
            # More rows of the last user may follow: the next page begins with that user.
            counts.pop(rows[-1].user_id, None)
            earlier = [row.user_id for row in rows if row.user_id != rows[-1].user_id]
            follows = earlier[-1] if earlier else after
        listeners = [
            Presence(user_id=user_id, connections=connections)
            for user_id, connections in sorted(counts.items())
        ]
        shown = list(that_fit(listeners[:limit]))
        return ListenersPage(shown, shown[-1].user_id if len(shown) < len(listeners) else follows)

    def _rows(
        self, channel_id: str, limit: int, after: str | None
    ) -> tuple[list[Subscription], Key | None]:
        """Subscriptions of one user more than the page shows, if the channel has so many."""
        rows: list[Subscription] = []
        start: Key | None = None
        while True:
            page = self.repository.query(
                Query(
                    table=Table.CONNECTIONS,
                    partition=channel_id,
                    sort=SortBetween(low=None if after is None else keys.past_user(after)),
                    limit=_ROWS_AT_ONCE,
                    consistent=True,
                    start_after=start,
                )
            )
            rows += map(Subscription.model_validate, page.items)
            start = page.last_key
            users = {row.user_id for row in rows if _is_live(row)}
            if start is None or len(users) > limit + 1 or len(rows) >= _MAX_ROWS:
                return rows, start


def _is_live(row: Subscription) -> bool:
    return row.state == "live" and row.expires_at > epoch_seconds()
