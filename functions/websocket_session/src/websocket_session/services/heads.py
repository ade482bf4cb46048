"""How far the logs of a connection's channels reach."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from commons.dal import IRepository
from commons.errors import ChannelNotFoundError
from commons.records.connection import Connection
from commons.services.base import BaseService
from commons.services.event_log import EventLogService

_AT_ONCE: Final = 10


class HeadsService(BaseService):
    def __init__(
        self, repository: IRepository | None = None, *, event_log: EventLogService | None = None
    ) -> None:
        super().__init__(repository)
        self._event_log = event_log or EventLogService(self.repository)

    def of(self, connection: Connection) -> dict[str, int]:
        """The last number of each channel that the connection is subscribed to: a query each."""
        channels = sorted(connection.channels)
        if not channels:
            return {}
        with ThreadPoolExecutor(min(_AT_ONCE, len(channels))) as threads:
            heads = list(threads.map(self._head, channels))
        return {
            channel: head for channel, head in zip(channels, heads, strict=True) if head is not None
        }

    def _head(self, channel_id: str) -> int | None:
        try:
            return self._event_log.head(channel_id)
        except ChannelNotFoundError:
            return None
