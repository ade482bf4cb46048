"""How much a member has not read."""

from dataclasses import replace
from typing import Final

from commons.dal import MESSAGES_INDEX, Compare, NotExists, Page, Query, SortBetween, Table, all_of
from commons.services.base import BaseService

NEWEST_COUNTED: Final = 500
MAX_UNREAD: Final = 100
"""Means as many or more."""


class UnreadService(BaseService):
    """Counts unread messages from the index alone, whatever they hold and however long the log is.

    One call where the newest hundred settle it, else a second one: 50 KB at most, with user ids
    of 36 characters.
    """

    def count(self, channel_id: str, user_id: str, *, read_seq: int, last_seq: int) -> int:
        """Messages by others between mark and end, not deleted, of the newest 500; 100 at most."""
        if last_seq <= read_seq:
            return 0
        numbers = SortBetween(low=read_seq + 1, high=last_seq)
        newest = self._unread(channel_id, user_id, numbers, MAX_UNREAD)
        unread = len(newest.items)
        if newest.last_key is not None and unread < MAX_UNREAD:
            oldest = newest.last_key["message_seq"]
            rest = replace(numbers, high=int(oldest) - 1)
            counted = NEWEST_COUNTED - MAX_UNREAD
            unread += len(self._unread(channel_id, user_id, rest, counted).items)
        return min(unread, MAX_UNREAD)

    def _unread(self, channel_id: str, user_id: str, numbers: SortBetween, counted: int) -> Page:
        return self.repository.query(
            Query(
                table=Table.CHAT_EVENTS,
                index=MESSAGES_INDEX,
                partition=channel_id,
                sort=numbers,
                ascending=False,
                limit=counted,
                where=all_of(Compare("sender_id", "<>", user_id), NotExists("redacted")),
                attributes=("seq",),
            )
        )
