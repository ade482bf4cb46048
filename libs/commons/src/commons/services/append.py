"""How events get into a log where others write at once (docs/adr/0001, docs/adr/0022)."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast

from commons.clock import now, rfc3339
from commons.dal import IRepository, Item, NotExists, PutWrite, Table, Write
from commons.dal.validation import write_key
from commons.dynamodb.exceptions import (
    ConditionFailedError,
    StorageBusyError,
    TransactionCanceledError,
)
from commons.errors import ChannelNotFoundError
from commons.observability import log, metrics
from commons.records.event import closes, event_from_item, event_item, seal_item
from commons.schemas.event import Event, EventData, Sender
from commons.services.head_memory import HeadMemory

APPEND_BUDGET_SECONDS: Final = 20.0
"""API Gateway gives a caller up after 29 s: what has not won by then says so while it can."""

MAX_REJECTION_PAUSE_SECONDS: Final = 0.1

WIDENING: Final = 2
"""Tries' lengths by which a lost one widens the window within which newcomers choose their moment."""

PAUSED_LOSSES: Final = 2
"""After these a post waits its part of the window; after the next ones it does not wait."""

LOSSES_A_ROUND: Final = 7
"""Then it waits again: transactions and puts, or many posts in step, would keep one another out."""

RECENT: Final = timedelta(seconds=5)
"""Where another's event is no older, more of them are to be expected."""


def no_writes(_seq: int) -> Sequence[Write]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event that has no number yet. Its type is that of its data.

    Attributes:
        writes: what is written in the same transaction, given the event's number: 98 items at most.
        on_rejected: called with the position among `writes`, and the item as it is, of a write
            whose condition does not hold. It may raise; where it returns, the append is prepared
            anew on the state as it is then.
        holds_its_reasons: all that the append is allowed on is a condition of its `writes`. A try
            that lost its number is made again without asking anew, in one call: for what has to
            get through a channel where many post.
        outlasts_messages: nobody's message takes away what the append is allowed on. Who has lost
            several times tries the number after such a message at once, without asking anew: all
            events since it was asked are then known, for each of them took a number from it.
    """

    sender: Sender
    data: EventData
    client_message_id: str | None = None
    writes: Callable[[int], Sequence[Write]] = no_writes
    on_rejected: Callable[[int, Item | None], None] | None = None
    holds_its_reasons: bool = False
    outlasts_messages: bool = False


@dataclass(frozen=True, slots=True)
class Timing:
    """Clocks and pauses of appends.

    Attributes:
        clock: seconds that never go back.
        sleep: takes seconds.
        jitter: some number of seconds from 0 to the one given.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[float], float] = lambda most: random.uniform(0, most)  # noqa: S311 - jitter


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why an event was not written: its number is taken, or companion writes were rejected."""

    winner: Item | None = None
    rejected: Sequence[tuple[int, Item | None]] = ()


class Append:
    """One event on its way into the log: its tries against everybody else's.

    Args:
        repository: where the log is.
        channel_id: whose log.
        prepare: authorises and drafts; anew after every lost try.
        observe: reads the head, consistently or not.
        heads: what this process knows of heads.
        timing: clocks and pauses.
        goes_first: waits for nobody.
    """

    def __init__(
        self,
        repository: IRepository,
        channel_id: str,
        prepare: Callable[[], Draft | None],
        *,
        observe: Callable[[bool], int],
        heads: HeadMemory,
        timing: Timing,
        goes_first: bool,
    ) -> None:
        self._repository = repository
        self._observe = observe
        self._channel_id = channel_id
        self._prepare = prepare
        self._heads = heads
        self._timing = timing
        self._goes_first = goes_first
        self._began_at = rfc3339(now())
        self._try_began = timing.clock()
        self._deadline = self._try_began + APPEND_BUDGET_SECONDS
        self._losses = 0
        self._stale_heads = 0
        self._rejections = 0

    def run(self) -> Event | None:
        """Appends it, or raises as `EventLogService.append` says."""
        if self._heads.is_closed(self._channel_id):
            raise ChannelNotFoundError
        self._wait_for_others()
        head = self._heads.head(self._channel_id, self._timing.clock())
        if head is None:
            head = self._read_head(consistent=False)
        draft = self._prepare()
        while draft is not None:
            item = _item(self._channel_id, head + 1, draft)
            companions = draft.writes(head + 1)
            if any(write_key(write) == (self._channel_id, head + 1) for write in companions):
                # The draft is about the very event that a head left behind would number anew.
                head = self._read_head(consistent=True)
                draft = self._prepare()
                continue
            refusal = self._try(item, companions)
            if refusal is None:
                return self._won(item)
            self._judge(refusal, draft)
            stands = draft.holds_its_reasons or self._follows(refusal.winner, draft)
            if refusal.winner is None:
                self._pause_after_rejection()
            else:
                head = self._next_head(refusal.winner, draft)
            if refusal.rejected or not stands:
                draft = self._prepare()
        return None

    def _try(self, item: Item, companions: Sequence[Write]) -> _Refusal | None:
        unclaimed = NotExists("channel_id")
        writes = [PutWrite(Table.CHAT_EVENTS, item, unclaimed), *companions]
        if item["type"] == "channel.deleted":
            seal = seal_item(
                self._channel_id, cast("int", item["seq"]) + 1, created_at=str(item["created_at"])
            )
            writes.append(PutWrite(Table.CHAT_EVENTS, seal, unclaimed))
        try:
            if len(writes) == 1:
                self._repository.put(Table.CHAT_EVENTS, item, condition=unclaimed)
            else:
                self._repository.transact(writes)
        except ConditionFailedError as error:
            return _Refusal(winner=error.item)
        except TransactionCanceledError as error:
            event, *others = error.reasons
            return _Refusal(
                winner=event.item if event.condition_failed else None,
                rejected=[
                    (position, reason.item)
                    for position, reason in enumerate(others[: len(companions)])
                    if reason.condition_failed
                ],
            )
        return None

    def _won(self, item: Item) -> Event:
        if closes(item):
            self._heads.note_closed(self._channel_id)
        else:
            seq = cast("int", item["seq"])
            self._heads.note_written(self._channel_id, seq, self._timing.clock())
        if self._losses:
            metrics.add_metric(name="AppendConflict", unit="Count", value=self._losses)
        if self._stale_heads:
            metrics.add_metric(name="StaleHead", unit="Count", value=self._stale_heads)
        return event_from_item(item)

    def _judge(self, refusal: _Refusal, draft: Draft) -> None:
        """Ends the append where it cannot come to anything."""
        if refusal.winner is not None and closes(refusal.winner):
            self._heads.note_closed(self._channel_id)
            raise ChannelNotFoundError
        for position, current in refusal.rejected:
            if draft.on_rejected is not None:
                draft.on_rejected(position, current)
        if self._timing.clock() > self._deadline:
            raise StorageBusyError("the channel's log is busy")

    def _next_head(self, winner: Item, draft: Draft) -> int:
        """The head to try next, after a number was lost to `winner`."""
        if self._is_older(winner):
            # Not a race: the head was one of long ago.
            self._stale_heads += 1
            self._heads.note_stale(self._channel_id)
            return self._read_head(consistent=True)
        follows = self._follows(winner, draft)
        self._losses += 1
        moment = self._timing.clock()
        widen_by = WIDENING * (moment - self._try_began)
        self._heads.note_lost(self._channel_id, moment, widen_by=widen_by)
        self._try_began = moment
        if self._goes_first or follows:
            return cast("int", winner["seq"])
        self._wait_for_others()
        return self._read_head(consistent=True)

    def _is_older(self, winner: Item) -> bool:
        """Whether it was written before this append began."""
        return str(winner["created_at"]) <= self._began_at

    def _follows(self, winner: Item | None, draft: Draft) -> bool:
        """Whether the number after the winner's is tried at once, with the same draft."""
        return (
            winner is not None
            and draft.outlasts_messages
            and winner["type"] == "message.created"
            and not self._is_older(winner)
            and self._losses % LOSSES_A_ROUND >= PAUSED_LOSSES
        )

    def _wait_for_others(self) -> None:
        """Newcomers wait longest; whoever has lost waits half as long each time."""
        window = self._heads.window(self._channel_id, self._timing.clock())
        if window and not self._goes_first:
            losses = self._losses and (self._losses - 1) % LOSSES_A_ROUND + 1
            self._timing.sleep(self._timing.jitter(window / 2**losses))
            self._try_began = self._timing.clock()

    def _pause_after_rejection(self) -> None:
        """The state has changed, which is read anew: a pause only where that goes on and on."""
        self._rejections += 1
        if self._rejections > 1:
            most = min(0.005 * 2**self._rejections, MAX_REJECTION_PAUSE_SECONDS)
            self._timing.sleep(self._timing.jitter(most))

    def _read_head(self, *, consistent: bool) -> int:
        return max(self._observe(consistent), self._heads.highest(self._channel_id))


def _item(channel_id: str, seq: int, draft: Draft) -> Item:
    item = event_item(
        channel_id,
        seq,
        sender=draft.sender,
        data=draft.data,
        created_at=rfc3339(now()),
        client_message_id=draft.client_message_id,
    )
    if correlation_id := _correlation_id():
        item["correlation_id"] = correlation_id
    return item


def _correlation_id() -> str | None:
    """Of the task where many are served at once, else of the function's one request."""
    of_task = log.thread_safe_get_current_keys().get("correlation_id")
    return of_task if isinstance(of_task, str) else log.get_correlation_id()
