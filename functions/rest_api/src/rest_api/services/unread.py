"""How much a member has not read."""

from dataclasses import dataclass, replace
from typing import Final

from commons.dal import MESSAGES_INDEX, Compare, NotExists, Page, Query, SortBetween, Table, all_of
from commons.services.base import BaseService

NEWEST_COUNTED: Final = 500
MAX_UNREAD: Final = 100
"""Means as many or more."""


@dataclass(frozen=True, slots=True)
class Unread:
    """How many, and how many bytes were read to know it."""

    count: int
    bytes_read: int


class UnreadService(BaseService):
    """Counts unread messages from the index alone, whatever they hold and however long the log is.

    One call where the newest hundred settle it, else a second one: 50 KB at most, with user ids
    of 36 characters.
    """

    def count(self, channel_id: str, user_id: str, *, read_seq: int, last_seq: int) -> Unread:
        """Messages by others between mark and end, not deleted, of the newest 500; 100 at most."""
        if last_seq <= read_seq:
            return Unread(0, bytes_read=0)
        numbers = SortBetween(low=read_seq + 1, high=last_seq)
        newest = self._unread(channel_id, user_id, numbers, MAX_UNREAD)
        unread, bytes_read = len(newest.items), newest.bytes_read
        if newest.last_key is not None and unread < MAX_UNREAD:
            oldest = newest.last_key["message_seq"]
            rest = replace(numbers, high=int(oldest) - 1)
            counted = NEWEST_COUNTED - MAX_UNREAD
            older = self._unread(channel_id, user_id, rest, counted)
            unread += len(older.items)
            bytes_read += older.bytes_read
        return Unread(min(unread, MAX_UNREAD), bytes_read)

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
                measured=True,
            )
        )
