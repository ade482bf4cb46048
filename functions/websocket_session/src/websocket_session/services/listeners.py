"""Who is online in a channel, as a subscription that begins is told."""

from typing import Final

from commons.clock import epoch_seconds
from commons.dal import IRepository, Query, Table
from commons.records.connection import Subscription
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown

MAX_ONLINE: Final = 200

_ROWS_AT_ONCE: Final = 500
"""A page of rows: some 175 KB, of which a full room is read no more than it takes."""


class ListenersService(BaseService):
    def __init__(self, repository: IRepository | None = None) -> None:
        super().__init__(repository)
        self._reader = ChannelReader(self.repository)

    def online(self, channel_id: str, user_id: str) -> Shown[list[str]]:
        """Users with a live subscription to the channel: the first 200, sorted.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        return self._reader.show(channel_id, user_id, lambda: self._online(channel_id))

    def _online(self, channel_id: str) -> list[str]:
        query = Query(
            table=Table.CONNECTIONS, partition=channel_id, consistent=True, limit=_ROWS_AT_ONCE
        )
        moment = epoch_seconds()
        # Rows come by user id: what ends an id in a key sorts before what an id may hold.
        online: dict[str, None] = {}
        for row in map(Subscription.model_validate, self.repository.iterate(query)):
            if row.state == "live" and row.expires_at > moment:
                online[row.user_id] = None
                if len(online) == MAX_ONLINE:
                    break
        return list(online)
