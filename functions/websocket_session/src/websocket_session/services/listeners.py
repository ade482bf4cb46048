"""Who is online in a channel, as a subscription that begins is told."""

from typing import Final

from commons.clock import epoch_seconds
from commons.dal import IRepository
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown
from commons.services.subscriptions import SubscriptionsService

MAX_ONLINE: Final = 200

_ROWS_AT_ONCE: Final = 500
"""A page of rows: some 175 KB, of which a full room is read no more than it takes."""


class ListenersService(BaseService):
    def __init__(self, repository: IRepository | None = None) -> None:
        super().__init__(repository)
        self._reader = ChannelReader(self.repository)
        self._subscriptions = SubscriptionsService(self.repository)

    def online(self, channel_id: str, user_id: str) -> Shown[list[str]]:
        """Users with a live subscription to the channel: the first 200, sorted.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        return self._reader.show(channel_id, user_id, lambda: self._online(channel_id))

    def _online(self, channel_id: str) -> list[str]:
        moment = epoch_seconds()
        online: dict[str, None] = {}
        for row in self._subscriptions.walk(channel_id, page=_ROWS_AT_ONCE):
            if row.state == "live" and row.expires_at > moment:
                online[row.user_id] = None
                if len(online) == MAX_ONLINE:
                    break
        return list(online)
