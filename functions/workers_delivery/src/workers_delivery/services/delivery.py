"""From events to frames at every connection that listens: each channel by itself (docs/adr/0051)."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from commons.clock import rfc3339
from commons.dal import IRepository
from commons.dynamodb.exceptions import RepositoryError
from commons.errors import UnavailableError
from commons.observability import log, metrics
from commons.services.base import BaseService
from workers_delivery.queues import IDeliveryQueues
from workers_delivery.schemas import Departed, ParkedRange, ParkingReason, RoomRange
from workers_delivery.services.backlog import BacklogService
from workers_delivery.services.push import (
    ChannelPush,
    EventsBySeq,
    PushContext,
    PushReport,
    Stretch,
)
from workers_delivery.services.slow_connections import SlowConnectionsService

BATCH_SECONDS: Final = 1.0
"""A batch holds its shard of the stream: what takes longer is done apart from it."""

HANDED_BACK_SECONDS: Final = 10
"""For so long the stream tries what storage or the API did not do; then it is done apart from it."""

HICCUP_SECONDS: Final = 3
"""For so long the stream tries again where more than MANY took nothing, and most of all: the API that
answers by now may have taken nothing a moment ago."""

MANY: Final = 20
"""Connections to be brought up by more than two messages of the queue."""

NOTE_SECONDS: Final = 0.25
"""For saying that something waits, before it is sent to the queue."""

TIDY_SECONDS: Final = 0.25
"""For forgetting what is gone; what is left over answers 410 again."""

FIRST_SHARDS: Final = 4
MOST_SHARDS: Final = 256
FULL_SHARD: Final = 500
"""Subscriptions in a shard above which its room grows: a worker posts to them in 0.15 s."""

_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a batch.

    Attributes:
        delivered: connections that took all of their frames.
        stale: connections that were gone, and are forgotten.
        failed: connections that did not take their frames in time.
        set_aside: ranges that are delivered apart from the stream.
        undelivered: what is to be parked, or, where it is `unavailable`, to come again.
    """

    delivered: int = 0
    stale: int = 0
    failed: int = 0
    set_aside: int = 0
    undelivered: tuple[ParkedRange, ...] = ()


class DeliveryService(BaseService):
    """Delivers events; raises for nothing that a batch may hold or a connection may do.

    Args:
        context: what pushes work with.
        slow: takes connections that did not take a push in time.
        backlog: keeps what is later behind what was set aside.
        queues: take what is done apart from the stream.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        context: PushContext,
        slow: SlowConnectionsService,
        backlog: BacklogService,
        queues: IDeliveryQueues,
    ) -> None:
        super().__init__(repository)
        self._context = context
        self._slow = slow
        self._backlog = backlog
        self._queues = queues
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tidy")
        self._notes = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="note")

    def deliver(self, events: Mapping[str, EventsBySeq]) -> Delivery:
        """Delivers events, by channel and number, channels side by side, within a second."""
        stretches = [
            Stretch(channel_id=channel_id, first=min(some), last=max(some), known=some)
            for channel_id, some in events.items()
            if some
        ]
        return self._push(stretches, seconds=BATCH_SECONDS)

    def deliver_range(self, asked: RoomRange) -> Delivery:
        """Delivers a range that was set aside, however long that takes."""
        stretch = Stretch(
            channel_id=asked.channel_id,
            first=asked.from_seq,
            last=asked.to_seq,
            shard=asked.shard,
            shards=asked.shards,
            is_of_queue=True,
        )
        return self._push([stretch], seconds=None)

    def _push(self, stretches: Sequence[Stretch], *, seconds: float | None) -> Delivery:
        pushes = [ChannelPush(self._context, stretch) for stretch in stretches]
        # Threads of their own: none of an abandoned push is in the way of the next batch.
        threads = ThreadPoolExecutor(max(len(pushes), 1), thread_name_prefix="channel")
        running = [(push, threads.submit(push.run)) for push in pushes]
        wait([future for _, future in running], timeout=seconds)
        threads.shutdown(wait=False)
        outcome = _Outcome()
        for push, future in running:
            if future.done():
                outcome.take(push.stretch, future)
            else:
                push.abandon()
                outcome.late.append(push.stretch)
        return self._settle(outcome)

    def _settle(self, outcome: "_Outcome") -> Delivery:
        is_outage = self._is_outage(outcome.reports)
        for report in outcome.reports:
            if report.is_cut_short or (is_outage and report.slow):
                outcome.unserved.append(report.stretch)
        slow = [] if is_outage else [each for report in outcome.reports for each in report.slow]
        adrift = [(row, row.live_after or 0) for each in outcome.reports for row in each.adrift]
        left = self._slow.put_back([*slow, *adrift])
        # It has a hole in what it was sent: the others get a repeat.
        outcome.unserved += [
            report.stretch
            for report in outcome.reports
            if report.stretch.channel_id in left and report.stretch not in outcome.unserved
        ]
        behind = [report.stretch for report in outcome.reports if report.is_behind]
        full = [report for report in outcome.reports if report.rooms_shards]
        back = [
            *self._threads.map(self._set_aside, (*outcome.late, *behind)),
            *self._threads.map(self._spread, full),
            *self._threads.map(self._again, outcome.unserved),
        ]
        self._tidy(outcome.reports)
        gone = sum(len(report.gone) for report in outcome.reports)
        delivered = sum(report.delivered for report in outcome.reports)
        metrics.add_metric(name="Delivered", unit="Count", value=delivered)
        if gone:
            metrics.add_metric(name="StaleConnection", unit="Count", value=gone)
        if slow:
            metrics.add_metric(name="DeliveryFailed", unit="Count", value=len(slow))
        handed_back = [stretch for stretch in back if stretch is not None]
        return Delivery(
            delivered=delivered,
            stale=gone,
            failed=sum(len(report.slow) for report in outcome.reports),
            set_aside=len(back) - len(handed_back),
            undelivered=(
                *outcome.failed,
                *(each for report in outcome.reports for each in report.oversized),
                *(_range(stretch, "unavailable") for stretch in handed_back),
            ),
        )

    def _is_outage(self, reports: Sequence[PushReport]) -> bool:
        """Whether it is the API that takes nothing, and not this or that connection.

        It is where most of what was posted failed, whoever it was for, and the API does not even
        answer what it is asked about those connections. Where they are many it is tried again
        before anything is asked: to bring them all up takes longer than most hiccups.
        """
        slow = [row for report in reports for row, _ in report.slow]
        served = sum(report.delivered + len(report.gone) for report in reports)
        is_of_one_user = len({row.user_id for row in slow}) <= 1
        if is_of_one_user or len(slow) <= served:
            return False
        if len(slow) > MANY and any(
            report.slow and report.stretch.known and self._is_young(report.stretch, HICCUP_SECONDS)
            for report in reports
        ):
            return True
        return not self._context.gateway.serves(row.connection_id for row in slow)

    def _again(self, stretch: Stretch) -> Stretch | None:
        """What was not served: handed back while it is young, else done apart from the stream."""
        if self._is_young(stretch, HANDED_BACK_SECONDS):
            return stretch
        return self._set_aside(stretch)

    def _is_young(self, stretch: Stretch, seconds: float) -> bool:
        """Whether its oldest event is; what the queue brings always counts as young."""
        moment = self._context.epoch() / 1_000 - seconds
        oldest = min((event.created_at for event in stretch.known.values()), default=None)
        return oldest is None or oldest > rfc3339(datetime.fromtimestamp(moment, UTC))

    def _set_aside(self, stretch: Stretch) -> Stretch | None:
        """Lets the queue bring it, and what follows; returns what the queue did not take.

        Where storage does not note that in time, what follows may come before it: to wait would
        cost all other channels their time, and the client sees the gap.
        """
        noting = self._notes.submit(self._backlog.note, stretch.channel_id, stretch.last)
        try:
            noting.result(NOTE_SECONDS)
        except (UnavailableError, TimeoutError) as error:
            log.warning("backlog not noted", error=type(error).__name__)
        return self._send(stretch, [_room_range(stretch, stretch.shard, stretch.shards)])

    def _spread(self, report: PushReport) -> Stretch | None:
        """Lets the queue bring each shard of a full room what it is due."""
        stretch, shards = report.stretch, report.rooms_shards
        try:
            if shards == 1:
                shards = self._grow(stretch.channel_id, shards)
        except UnavailableError:
            return stretch
        ranges = [_room_range(stretch, shard, shards) for shard in range(shards)]
        return self._send(stretch, ranges)

    def _send(self, stretch: Stretch, ranges: Sequence[RoomRange]) -> Stretch | None:
        try:
            self._queues.send_ranges(ranges)
        except UnavailableError:
            return stretch
        return None

    def _grow(self, channel_id: str, shards: int) -> int:
        return self._context.connections.grow(channel_id, shards=shards, to=shards * FIRST_SHARDS)

    def _tidy(self, reports: Iterable[PushReport]) -> None:
        """What is not done here is met again at the next event."""
        chores: list[Future[object]] = []
        for report in reports:
            channel_id, stretch = report.stretch.channel_id, report.stretch
            chores += [
                self._threads.submit(self._context.connections.forget, each) for each in report.gone
            ]
            chores += [
                self._threads.submit(self._slow.close_expired, each) for each in report.expired
            ]
            if report.departed:
                departed = [Departed(channel_id=channel_id, user_id=u) for u in report.departed]
                chores.append(self._threads.submit(self._queues.send_departed, departed))
            if self._is_outgrown(report):
                chores.append(self._threads.submit(self._grow, channel_id, stretch.shards))
        wait(chores, timeout=TIDY_SECONDS)
        for chore in chores:
            if chore.done() and (error := chore.exception()) is not None:
                log.warning("not tidied", error=type(error).__name__)

    def _is_outgrown(self, report: PushReport) -> bool:
        """Only shards that came with the room's last growth tell how many there are by now."""
        stretch = report.stretch
        is_of_last_growth = (stretch.shard or 0) >= stretch.shards // FIRST_SHARDS
        return (
            stretch.shard is not None
            and is_of_last_growth
            and stretch.shards < MOST_SHARDS
            and report.listening > FULL_SHARD
        )


class _Outcome:
    """What became of a batch's pushes.

    Attributes:
        late: those that were not through in time, and are abandoned.
        unserved: those that storage or the API did not serve.
        failed: those that failed by a fault of ours.
    """

    def __init__(self) -> None:
        self.reports: list[PushReport] = []
        self.late: list[Stretch] = []
        self.unserved: list[Stretch] = []
        self.failed: list[ParkedRange] = []

    def take(self, stretch: Stretch, push: Future[PushReport]) -> None:
        error = push.exception()
        if error is None:
            self.reports.append(push.result())
            return
        # Of what it raised only the kind is logged: it may quote text.
        log.error("push failed", channel_id=stretch.channel_id, error=type(error).__name__)
        if isinstance(error, UnavailableError):
            self.unserved.append(stretch)
        elif isinstance(error, Exception):
            reason: ParkingReason = "storage" if isinstance(error, RepositoryError) else "internal"
            self.failed.append(_range(stretch, reason))
        else:
            raise error


def _range(stretch: Stretch, reason: ParkingReason) -> ParkedRange:
    return ParkedRange(
        channel_id=stretch.channel_id, from_seq=stretch.first, to_seq=stretch.last, reason=reason
    )


def _room_range(stretch: Stretch, shard: int | None, shards: int) -> RoomRange:
    return RoomRange(
        channel_id=stretch.channel_id,
        from_seq=stretch.first,
        to_seq=stretch.last,
        shard=shard,
        shards=shards,
    )
