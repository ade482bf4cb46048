"""How far the logs of a connection's channels reach."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from commons.dal import IRepository
from commons.errors import ChannelNotFoundError
from commons.records.connection import Connection
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown
from commons.services.event_log import EventLogService

_AT_ONCE: Final = 10


class HeadsService(BaseService):
    def __init__(
        self, repository: IRepository | None = None, *, event_log: EventLogService
    ) -> None:
        super().__init__(repository)
        self._event_log = event_log
        self._reader = ChannelReader(self.repository)

    def of(self, connection: Connection) -> Shown[dict[str, int]]:
        """The last number of each channel that the connection is subscribed to: a query each."""
        channels = sorted(connection.channels)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            heads = dict(zip(channels, threads.map(self._head, channels), strict=True))
        known = {channel: head for channel, head in heads.items() if head is not None}
        return self._reader.show_all(connection.user_id, known, lambda head, _opened: head)

    def _head(self, channel_id: str) -> int | None:
        try:
            return self._event_log.head(channel_id)
        except ChannelNotFoundError:
            return None
