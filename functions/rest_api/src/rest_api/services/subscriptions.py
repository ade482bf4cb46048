"""Ending subscriptions of those who may no longer hear a channel."""

from commons.dal import IRepository
from commons.realtime import frames
from commons.services.base import BaseService
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.connections import ConnectionsService


class SubscriptionsEndingService(BaseService):
    """Removes subscriptions, then says `unsubscribed` to their connections."""

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        broadcasts: ChannelBroadcastService,
        connections: ConnectionsService | None = None,
    ) -> None:
        super().__init__(repository)
        self._broadcasts = broadcasts
        self._connections = connections or ConnectionsService(self.repository)

    def end_of_user(self, channel_id: str, user_id: str) -> None:
        """Once the member row is gone; none there is no error."""
        connection_ids = self._connections.remove_user(channel_id, user_id)
        if connection_ids:
            frame = frames.unsubscribed(channel_id, "removed")
            self._broadcasts.send_to_connections(connection_ids, frame)

    def end_of_channel(self, channel_id: str) -> None:
        """Once the member rows are gone; none there is no error."""
        connection_ids = self._connections.remove_channel(channel_id)
        if connection_ids:
            frame = frames.unsubscribed(channel_id, "deleted")
            self._broadcasts.send_to_connections(connection_ids, frame)
