"""Stretches of the log, as a member may see them."""

from typing import Final

from commons.dal import IRepository
from commons.realtime.encoded_frames import MAX_FRAME_BYTES, event_json
from commons.schemas.event import EventPage
from commons.services.base import BaseService
from commons.services.event_log import EventLogService
from commons.services.membership import MembershipService

ENVELOPE_BYTES: Final = 1_024
"""What a `sync` frame takes besides its events: names, numbers, and two ids; a request id of 64
control characters is 384 bytes of JSON."""


class CatchUpService(BaseService):
    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        event_log: EventLogService | None = None,
        membership: MembershipService | None = None,
    ) -> None:
        super().__init__(repository)
        self._event_log = event_log or EventLogService(self.repository)
        self._membership = membership or MembershipService(self.repository)

    def page(self, channel_id: str, user_id: str, *, after: int, limit: int) -> EventPage:
        """Up to `limit` events after number `after`.

        Membership is looked at after the log: who is a member then was one when each of these
        events was appended.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        page = self._event_log.read(channel_id, after=after, limit=limit)
        self._membership.open_channel(channel_id, user_id)
        return page

    def frame_page(self, channel_id: str, user_id: str, *, after: int, limit: int) -> EventPage:
        """As `page`, with no more events than one frame carries.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        page = self.page(channel_id, user_id, after=after, limit=limit)
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
