"""The log of a channel: append-only, numbered 1, 2, 3 … without a gap (docs/adr/0001)."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast, overload

from commons import keys
from commons.clock import now, rfc3339
from commons.dal import (
    IRepository,
    Item,
    NotExists,
    PutWrite,
    Query,
    SortBetween,
    Table,
    Write,
)
from commons.dal.validation import write_key
from commons.dynamodb.exceptions import (
    ConditionFailedError,
    StorageBusyError,
    TransactionCanceledError,
)
from commons.errors import ChannelNotFoundError, MessageNotFoundError
from commons.ids import new_write_id
from commons.observability import log, metrics
from commons.records.event import event_from_item, event_item
from commons.schemas.event import Event, EventData, EventPage, MessageCreated, Sender
from commons.services.base import BaseService
from commons.services.head_memory import head_memory_of

APPEND_BUDGET_SECONDS: Final = 15.0
"""API Gateway gives a caller up after 29 s: what has not won by then says so while it can."""

LOSSES_BEFORE_HEAD_IS_READ: Final = 3
"""A lost conditional write costs a write unit, reading the head half a read unit."""


def no_writes(_seq: int) -> Sequence[Write]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event that has no number yet. Its type is that of its data.

    Attributes:
        writes: what is written in the same transaction, given the event's number: 99 items at most.
        on_rejected: called with the position among `writes`, and the item as it is, of a write
            whose condition does not hold. It may raise; where it returns, the append is prepared
            anew on the state as it is then.
    """

    sender: Sender
    data: EventData
    client_message_id: str | None = None
    writes: Callable[[int], Sequence[Write]] = no_writes
    on_rejected: Callable[[int, Item | None], None] | None = None


@dataclass(frozen=True, slots=True)
class LastEvent:
    """`seq` is 0, and `created_at` None, for an empty log."""

    seq: int
    created_at: str | None


def _item(channel_id: str, seq: int, draft: Draft, write_id: str) -> Item:
    item = event_item(
        channel_id,
        seq,
        sender=draft.sender,
        data=draft.data,
        created_at=rfc3339(now()),
        client_message_id=draft.client_message_id,
    )
    item["write_id"] = write_id
    if correlation_id := _correlation_id():
        item["correlation_id"] = correlation_id
    return item


def _correlation_id() -> str | None:
    """Of the task where many are served at once, else of the function's one request."""
    of_task = log.thread_safe_get_current_keys().get("correlation_id")
    return of_task if isinstance(of_task, str) else log.get_correlation_id()


class EventLogService(BaseService):
    """Appends events and reads them back."""

    def __init__(self, repository: IRepository | None = None) -> None:
        super().__init__(repository)
        self._heads = head_memory_of(self.repository)

    @overload
    def append(self, channel_id: str, prepare: Callable[[], Draft]) -> Event: ...

    @overload
    def append(self, channel_id: str, prepare: Callable[[], Draft | None]) -> Event | None: ...

    def append(self, channel_id: str, prepare: Callable[[], Draft | None]) -> Event | None:
        """Appends one event at the head, whatever writes at once.

        `prepare` authorises and drafts; None says that nothing is to be changed, and nothing is
        appended. It runs after the head was observed, and again after every lost try: the put at
        head + 1 succeeds only if nothing was appended since, so nobody appends after the event
        that took the right away.

        Raises:
            ChannelNotFoundError: the channel was deleted.
            StorageBusyError: the append did not win within its time budget; nothing was written.
        """
        contest = _Contest(deadline=time.monotonic() + APPEND_BUDGET_SECONDS)
        write_id = new_write_id()
        head = self._heads.get(channel_id)
        if head is None:
            head = self._observe_head(channel_id, consistent=False)
        while (draft := prepare()) is not None:
            item = _item(channel_id, head + 1, draft, write_id)
            companions = draft.writes(head + 1)
            if any(write_key(write) == (channel_id, head + 1) for write in companions):
                # The draft is about the very event that a head left behind would number anew.
                head = self._observe_head(channel_id, consistent=True)
                continue
            refusal = self._try_write(item, companions)
            if refusal is None or refusal.is_own_write(write_id):
                self._heads.set(channel_id, head + 1)
                if contest.losses:
                    metrics.add_metric(name="AppendConflict", unit="Count", value=contest.losses)
                return event_from_item(item)
            contest.note(refusal, draft)
            if refusal.winner is not None:
                head += 1
                if contest.losses % LOSSES_BEFORE_HEAD_IS_READ == 0:
                    head = max(head, self._observe_head(channel_id, consistent=True))
        return None

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
        return self._observe_last_event(channel_id, consistent=True)

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
        events = [event_from_item(item) for item in page.items]
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
        if item is None:
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

    def _observe_head(self, channel_id: str, *, consistent: bool) -> int:
        return self._observe_last_event(channel_id, consistent=consistent).seq

    def _observe_last_event(self, channel_id: str, *, consistent: bool) -> LastEvent:
        item = self._last_item(channel_id, consistent=consistent)
        if item is None:
            return LastEvent(0, None)
        if item["type"] == "channel.deleted":
            raise ChannelNotFoundError
        last = LastEvent(cast("int", item["seq"]), cast("str", item["created_at"]))
        self._heads.set(channel_id, last.seq)
        return last

    def _last_seq(self, channel_id: str) -> int:
        item = self._last_item(channel_id, consistent=True)
        return 0 if item is None else cast("int", item["seq"])

    def _last_item(self, channel_id: str, *, consistent: bool) -> Item | None:
        page = self.repository.query(
            Query(
                table=Table.CHAT_EVENTS,
                partition=channel_id,
                ascending=False,
                limit=1,
                consistent=consistent,
                attributes=("seq", "type", "created_at"),
            )
        )
        return page.items[0] if page.items else None

    def _try_write(self, item: Item, companions: Sequence[Write]) -> "_Refusal | None":
        unclaimed = NotExists("channel_id")
        try:
            if companions:
                self.repository.transact(
                    [PutWrite(Table.CHAT_EVENTS, item, unclaimed), *companions]
                )
            else:
                self.repository.put(Table.CHAT_EVENTS, item, condition=unclaimed)
        except ConditionFailedError as error:
            return _Refusal(winner=error.item)
        except TransactionCanceledError as error:
            event, *others = error.reasons
            return _Refusal(
                winner=event.item if event.condition_failed else None,
                rejected=[
                    (position, reason.item)
                    for position, reason in enumerate(others)
                    if reason.condition_failed
                ],
            )
        return None


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why an event was not written: its number is taken, or companion writes were rejected."""

    winner: Item | None = None
    rejected: Sequence[tuple[int, Item | None]] = ()

    def is_own_write(self, write_id: str) -> bool:
        """The number is taken by this very append: a retry inside the SDK met its own write."""
        return self.winner is not None and self.winner.get("write_id") == write_id


@dataclass(slots=True)
class _Contest:
    """The tries of one append against everybody else's."""

    deadline: float
    losses: int = 0
    rejections: int = 0

    def note(self, refusal: _Refusal, draft: Draft) -> None:
        """Counts a refused try and waits a little, or ends the contest by raising."""
        if refusal.rejected:
            self.rejections += 1
            for position, current in refusal.rejected:
                if draft.on_rejected is not None:
                    draft.on_rejected(position, current)
        if refusal.winner is not None:
            self.losses += 1
            if refusal.winner["type"] == "channel.deleted":
                raise ChannelNotFoundError
        if time.monotonic() > self.deadline:
            raise StorageBusyError("the channel's log is busy")
        _pause(self.losses + self.rejections)


def _pause(attempt: int) -> None:
    """Full jitter, 5 ms doubling to 160 ms: about one round trip, then room for the others."""
    time.sleep(random.uniform(0, 0.005 * 2 ** min(attempt, 5)))  # noqa: S311 - jitter
