"""Stretches of the log, as a member may see them."""

from typing import Final

from commons.dal import IRepository
from commons.realtime.encoded_frames import MAX_FRAME_BYTES, event_json
from commons.schemas.event import EventPage
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown
from commons.services.event_log import EventLogService

ENVELOPE_BYTES: Final = 1_024
"""What a `sync` frame takes besides its events: names, numbers, and two ids; a request id of 64
control characters is 384 bytes of JSON."""


class CatchUpService(BaseService):
    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        event_log: EventLogService,
    ) -> None:
        super().__init__(repository)
        self._event_log = event_log
        self._reader = ChannelReader(self.repository)

    def page(self, channel_id: str, user_id: str, *, after: int, limit: int) -> Shown[EventPage]:
        """Up to `limit` events after number `after`.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        return self._reader.show(
            channel_id,
            user_id,
            lambda: self._event_log.read(channel_id, after=after, limit=limit),
        )

    def frame_page(
        self, channel_id: str, user_id: str, *, after: int, limit: int
    ) -> Shown[EventPage]:
        """As `page`, with no more events than one frame carries.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        return self.page(channel_id, user_id, after=after, limit=limit).map(_fitting)


def _fitting(page: EventPage) -> EventPage:
    room = MAX_FRAME_BYTES - ENVELOPE_BYTES
    count = 0
    for event in page.items:
        room -= len(event_json(event)) + 1
        if room < 0:
            break
        count += 1
    if count == len(page.items):
        return page
    return page.model_copy(update={"items": page.items[:count], "has_more": True})
