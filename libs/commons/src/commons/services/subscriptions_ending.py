"""Ending subscriptions of those who may no longer hear a channel."""

import time
from collections.abc import Callable
from typing import Final

from commons.dal import IRepository
from commons.realtime import encoded_frames
from commons.services.base import BaseService
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.connections import ConnectionsService

LAST_FRAMES_SECONDS: Final = 1.0
"""What was being sent as a subscription ended has arrived by then (CONTRACT, section 3)."""


class SubscriptionsEndingService(BaseService):
    """Removes subscriptions, then says `unsubscribed` to their connections.

    `unsubscribed` is the last frame about a channel: it waits for those that other functions were
    sending when the subscription ended. Whoever has subscribed again by then is not told.

    Args:
        last_frames_seconds: how long it waits; not at all where nobody was subscribed.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        broadcasts: ChannelBroadcastService,
        connections: ConnectionsService | None = None,
        last_frames_seconds: float = LAST_FRAMES_SECONDS,
    ) -> None:
        super().__init__(repository)
        self._last_frames_seconds = last_frames_seconds
        self._broadcasts = broadcasts
        self._connections = connections or ConnectionsService(self.repository)

    def end_of_user(self, channel_id: str, user_id: str) -> None:
        """Once the member row is gone; none there is no error."""
        ended = frozenset(self._connections.remove_user(channel_id, user_id))

        def still_away() -> frozenset[str]:
            return ended - self._connections.connections_of(channel_id, user_id)

        frame = encoded_frames.unsubscribed(channel_id, "removed")
        self._say_farewell(ended, still_away, frame)

    def end_of_channel(self, channel_id: str) -> None:
        """Once the member rows are gone; none there is no error."""
        ended = frozenset(self._connections.remove_channel(channel_id))
        frame = encoded_frames.unsubscribed(channel_id, "deleted")
        # Nobody subscribes to a deleted channel again.
        self._say_farewell(ended, lambda: ended, frame)

    def _say_farewell(
        self, ended: frozenset[str], still_away: Callable[[], frozenset[str]], frame: bytes
    ) -> None:
        if ended:
            time.sleep(self._last_frames_seconds)
            self._broadcasts.send_to_connections(still_away, frame)
