"""Clearing away what a deleted channel leaves: memberships and subscriptions."""

from commons import keys
from commons.dal import IRepository, Key, Query, SortPrefix, Table
from commons.services.base import BaseService
from commons.services.subscriptions_ending import SubscriptionsEndingService


class ClosingService(BaseService):
    """Nothing depends on it: a deleted channel is closed by its log's seal and its own row."""

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        subscriptions: SubscriptionsEndingService,
    ) -> None:
        super().__init__(repository)
        self._subscriptions = subscriptions

    def clear(self, channel_id: str) -> None:
        """Removes members and subscriptions of a deleted channel; again: what is left of them."""
        members = self.repository.iterate(
            Query(
                table=Table.CHANNELS,
                partition=keys.channel_partition(channel_id),
                sort=SortPrefix(keys.MEMBER_PREFIX),
                consistent=True,
                attributes=("user_id",),
            )
        )
        user_ids = [str(row["user_id"]) for row in members]
        # Twins first: without its member row no later call would find one.
        self.repository.batch_delete(
            Table.CHANNELS, [keys.user_channel_key(user_id, channel_id) for user_id in user_ids]
        )
        member_rows: list[Key] = [keys.member_key(channel_id, user_id) for user_id in user_ids]
        self.repository.batch_delete(Table.CHANNELS, member_rows)
        self._subscriptions.end_of_channel(channel_id)
