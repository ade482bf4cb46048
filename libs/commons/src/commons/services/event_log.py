"""The log of a channel: append-only, numbered 1, 2, 3 … without a gap (docs/adr/0001)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast, overload

from commons import keys
from commons.clock import now, rfc3339
from commons.dal import (
    IRepository,
    Item,
    Page,
    Query,
    SortBetween,
    Table,
)
from commons.errors import ChannelNotFoundError, MessageNotFoundError
from commons.records.event import closes, event_from_item, is_event
from commons.schemas.event import (
    Event,
    EventPage,
    MessageCreated,
)
from commons.services.append import RECENT, Append, Draft, Timing
from commons.services.base import BaseService
from commons.services.head_memory import head_memory_of

__all__ = ["Draft", "EventLogService", "LastEvent", "Timing"]


@dataclass(frozen=True, slots=True)
class LastEvent:
    """`seq` is 0, and `created_at` None, for an empty log.

    Attributes:
        bytes_read: to find it: the whole item is read, text and all.
    """

    seq: int
    created_at: str | None
    bytes_read: int = 0


class EventLogService(BaseService):
    """Appends events and reads them back."""

    def __init__(
        self, repository: IRepository | None = None, *, timing: Timing | None = None
    ) -> None:
        super().__init__(repository)
        self._timing = timing or Timing()
        self._heads = head_memory_of(self.repository)

    @overload
    def append(
        self, channel_id: str, prepare: Callable[[], Draft], *, goes_first: bool = False
    ) -> Event: ...

    @overload
    def append(
        self, channel_id: str, prepare: Callable[[], Draft | None], *, goes_first: bool = False
    ) -> Event | None: ...

    def append(
        self, channel_id: str, prepare: Callable[[], Draft | None], *, goes_first: bool = False
    ) -> Event | None:
        """Appends one event at the head, whatever writes at once.

        `prepare` authorises and drafts; None says that nothing is to be changed, and nothing is
        appended. It runs after the head was observed, and again after every lost try: the put at
        head + 1 succeeds only if nothing was appended since, so nobody appends after the event
        that took the right away.

        Args:
            channel_id: whose log.
            prepare: see above.
            goes_first: what moderates waits for nobody.

        Raises:
            ChannelNotFoundError: the channel was deleted.
            StorageBusyError: the append did not win within its time budget; nothing was written.
        """
        run = Append(
            self.repository,
            channel_id,
            prepare,
            observe=lambda consistent: self.observe(channel_id, consistent=consistent).seq,
            heads=self._heads,
            timing=self._timing,
            goes_first=goes_first,
        )
        return run.run()

    def head(self, channel_id: str) -> int:
        """The number of the last event; 0 for an empty log.

        Raises:
            ChannelNotFoundError: the channel was deleted.
        """
        return self.last_event(channel_id).seq

    def last_event(self, channel_id: str) -> LastEvent:
        """The last event's number and time.

        Raises:
            ChannelNotFoundError: the channel was deleted.
        """
        return self.observe(channel_id, consistent=True)

    def read(self, channel_id: str, *, after: int, limit: int) -> EventPage:
        """Up to `limit` events after number `after`; fewer where a page of 1 MB ends earlier."""
        page = self.repository.query(
            Query(
                table=Table.CHAT_EVENTS,
                partition=channel_id,
                sort=SortBetween(low=after + 1),
                limit=limit,
                consistent=True,
            )
        )
        events = [event_from_item(item) for item in page.items if is_event(item)]
        if events and page.last_key is None:
            last_seq = events[-1].seq
        else:
            last_seq = self._last_seq(channel_id)
        through = events[-1].seq if events else after
        return EventPage(items=events, last_seq=last_seq, has_more=last_seq > through)

    def get(self, channel_id: str, seq: int) -> Event:
        """One event, consistently read.

        Raises:
            MessageNotFoundError: no event has that number.
        """
        item = self.repository.find(
            Table.CHAT_EVENTS, keys.event_key(channel_id, seq), consistent=True
        )
        if item is None or not is_event(item):
            raise MessageNotFoundError
        return event_from_item(item)

    def get_message(self, channel_id: str, seq: int) -> MessageCreated:
        """A message as it was created.

        Raises:
            MessageNotFoundError: no event has that number, or it is no message.
        """
        event = self.get(channel_id, seq)
        if not isinstance(event, MessageCreated):
            raise MessageNotFoundError
        return event

    def observe(self, channel_id: str, *, consistent: bool) -> LastEvent:
        """As `last_event`; one that is not `consistent` costs half, and may lag."""
        page = self._last_items(channel_id, consistent=consistent)
        item = _only(page)
        if item is not None and closes(item):
            self._heads.note_closed(channel_id)
            raise ChannelNotFoundError
        last = (
            LastEvent(0, None)
            if item is None
            else LastEvent(
                cast("int", item["seq"]), cast("str", item["created_at"]), page.bytes_read
            )
        )
        self._heads.note_read(
            channel_id,
            last.seq,
            self._timing.clock(),
            is_recent=last.created_at is not None and last.created_at > rfc3339(now() - RECENT),
        )
        return last

    def _last_seq(self, channel_id: str) -> int:
        item = _only(self._last_items(channel_id, consistent=True))
        if item is None:
            return 0
        seq = cast("int", item["seq"])
        return seq if is_event(item) else seq - 1

    def _last_items(self, channel_id: str, *, consistent: bool) -> Page:
        return self.repository.query(
            Query(
                table=Table.CHAT_EVENTS,
                partition=channel_id,
                ascending=False,
                limit=1,
                consistent=consistent,
                attributes=("seq", "type", "created_at"),
                measured=True,
            )
        )


def _only(page: Page) -> Item | None:
    return page.items[0] if page.items else None
