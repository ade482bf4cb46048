"""How much a member has not read."""

from typing import Final

from commons import keys
from commons.dal import MESSAGES_INDEX, Compare, Exists, Query, SortBetween, Table
from commons.services.base import BaseService

NEWEST_COUNTED: Final = 500
MAX_UNREAD: Final = 100
"""Means as many or more."""


class UnreadService(BaseService):
    """Counts unread messages: two calls at most, whatever the log's length."""

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
        unread = {item["seq"] for item in page.items}
        if not unread:
            return 0
        deleted = self.repository.iterate(
            Query(
                table=Table.CHAT_EVENTS,
                partition=keys.message_state_partition(channel_id),
                sort=SortBetween(low=read_seq + 1),
                ascending=False,
                limit=NEWEST_COUNTED,
                where=Exists("deleted_at"),
                attributes=("seq",),
            )
        )
        for item in deleted:
            unread.discard(item["seq"])
        return min(len(unread), MAX_UNREAD)
