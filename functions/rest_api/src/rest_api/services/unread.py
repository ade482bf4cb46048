"""How much a member has not read."""

from itertools import batched
from typing import Final, cast

from commons import keys
from commons.dal import MESSAGES_INDEX, Compare, Exists, Query, SortBetween, Table
from commons.services.base import BaseService

NEWEST_COUNTED: Final = 500
MAX_UNREAD: Final = 100
"""Means as many or more."""


class UnreadService(BaseService):
    """Counts unread messages, whatever the log's length.

    Two calls as a rule: the newest messages, then the states of the newest hundred of others. As
    long as deleted ones are among them those of the next hundred: 500 states at most.
    """

    def count(self, channel_id: str, user_id: str, *, read_seq: int, last_seq: int) -> int:
        """Messages by others past the mark, not deleted, among the newest 500; 100 at most."""
        if last_seq <= read_seq:
            return 0
        page = self.repository.query(
            Query(
                table=Table.CHAT_EVENTS,
                index=MESSAGES_INDEX,
                partition=channel_id,
                sort=SortBetween(low=read_seq + 1),
                ascending=False,
                limit=NEWEST_COUNTED,
                where=Compare("sender_id", "<>", user_id),
                attributes=("seq",),
            )
        )
        candidates = [cast("int", item["seq"]) for item in page.items]
        unread = 0
        for newest_first in batched(candidates, MAX_UNREAD):
            deleted = self._deleted(channel_id, newest_first[-1], newest_first[0])
            unread += sum(seq not in deleted for seq in newest_first)
            if unread >= MAX_UNREAD:
                return MAX_UNREAD
        return unread

    def _deleted(self, channel_id: str, low: int, high: int) -> set[object]:
        states = self.repository.iterate(
            Query(
                table=Table.CHAT_EVENTS,
                partition=keys.message_state_partition(channel_id),
                sort=SortBetween(low=low, high=high),
                where=Exists("deleted_at"),
                attributes=("seq",),
            )
        )
        return {item["seq"] for item in states}
