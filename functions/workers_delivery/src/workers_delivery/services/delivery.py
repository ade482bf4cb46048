"""From a batch of events to frames at every connection that listens."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

from commons.dal import IRepository
from commons.errors import UnavailableError
from commons.observability import log, metrics
from commons.realtime import encoded_frames
from commons.realtime.broadcaster import IBroadcaster, Outcome
from commons.schemas.event import Event
from commons.schemas.server_frames import UnsubscribedReason
from commons.services.base import BaseService
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.connections import ConnectionsService
from commons.services.event_log import EventLogService
from workers_delivery.coalescing import Coalescer
from workers_delivery.deletions import Deletions
from workers_delivery.progress import Progress
from workers_delivery.schemas import ParkedRange, ParkingReason
from workers_delivery.services.audience import Audience, AudienceService, Listener, is_settling
from workers_delivery.troubles import Troubles

GATHER_SECONDS: Final = 8.0
"""For the queries of all channels of a batch, which go side by side."""

PUSH_SECONDS: Final = 10.0
"""The retry budget of a push (CONTRACT, *Delivery*)."""

PATIENCE_SECONDS: Final = 2.0
"""How long a batch goes on where the callback API works and nobody takes anything any more: all
channels of the shard wait meanwhile."""

OUTAGE_SECONDS: Final = 10.0
"""Where nobody was reached for so long, it is the callback API that is down."""

TIDY_SECONDS: Final = 8.0
"""For forgetting what is gone; what is left over answers 410 again."""

LAST_FRAMES_SECONDS: Final = 1.0
"""What was being sent as a subscription ended has arrived by then (CONTRACT, section 3)."""

FRESH_SECONDS: Final = 0.4
"""Who listens is asked again where it was read longer ago than this when the frames leave: a
thousand subscriptions are read in less, and asking again costs the same once more."""

_CHANNELS_AT_ONCE: Final = 16
_PAGE: Final = 100

type EventsBySeq = Mapping[int, Event]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a batch.

    Attributes:
        delivered: connections that took all of their frames.
        stale: connections that were gone, and are forgotten.
        failed: connections that took no more within the retry budget, or were not tried again yet.
        undelivered: what is to be parked.
    """

    delivered: int
    stale: int
    failed: int
    undelivered: tuple[ParkedRange, ...]


class DeliveryService(BaseService):
    """Delivers events; raises for nothing that a batch may hold or a connection may do.

    Args:
        broadcaster: how frames reach connections.
        last_frames_seconds: how long `unsubscribed` waits for what others were sending.
        fresh_seconds: past that, who listens is asked again before the frames leave.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        broadcaster: IBroadcaster,
        last_frames_seconds: float = LAST_FRAMES_SECONDS,
        fresh_seconds: float = FRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(repository)
        self._clock = clock
        self._reached_at = -math.inf
        self._troubles = Troubles(clock)
        self._last_frames_seconds = last_frames_seconds
        self._fresh_seconds = fresh_seconds
        self._broadcaster = broadcaster
        self._connections = ConnectionsService(self.repository)
        self._event_log = EventLogService(self.repository)
        self._progress = Progress()
        self._deletions = Deletions()
        self._audiences = AudienceService(
            self.repository,
            connections=self._connections,
            event_log=self._event_log,
            progress=self._progress,
            troubles=self._troubles,
        )
        self._unsubscribing = ChannelBroadcastService(
            self.repository, broadcaster=broadcaster, connections=self._connections
        )
        self._threads = ThreadPoolExecutor(_CHANNELS_AT_ONCE, thread_name_prefix="channel")

    def deliver(self, events: Mapping[str, EventsBySeq]) -> Delivery:
        """Delivers the events, by channel and number, to who listens.

        Each connection gets one post, with the events of all its channels.
        """
        audiences, undelivered = self._gather(events)
        coalescer = Coalescer(audiences)
        listeners = self._listeners(audiences)
        quiet = frozenset(
            connection_id
            for connection_id, some in listeners.items()
            if any(listener.is_quiet for listener in some)
        )
        due = {each: some for each, some in listeners.items() if each not in quiet}
        probed = frozenset(filter(self._troubles.is_known, due))
        outcome = self._broadcaster.send(
            coalescer.posts(due, probed=probed).values(),
            budget_seconds=PUSH_SECONDS,
            revalidate=lambda pending: coalescer.posts(
                self._still_listening(audiences, pending), probed=probed
            ),
        )
        failed = outcome.failed | quiet
        undelivered += coalescer.oversized.values()
        self._note_taken(audiences, failed | outcome.gone | outcome.unready)
        if self._is_outage(listeners, failed, outcome):
            undelivered += _unreached(audiences, failed)
        else:
            self._note_owed(audiences, failed)
            self._troubles.note_failed(outcome.failed)
        self._troubles.note_over(due.keys() - outcome.failed)
        undelivered += self._tidy(audiences, outcome)
        metrics.add_metric(name="Delivered", unit="Count", value=outcome.delivered)
        if outcome.gone:
            metrics.add_metric(name="StaleConnection", unit="Count", value=len(outcome.gone))
        if failed:
            metrics.add_metric(name="DeliveryFailed", unit="Count", value=len(failed))
        return Delivery(
            delivered=outcome.delivered,
            stale=len(outcome.gone),
            failed=len(failed),
            undelivered=tuple(undelivered),
        )

    def redeliver(self, parked: ParkedRange) -> Delivery:
        """Delivers a range of the log that was parked.

        Raises:
            RepositoryError: storage did not answer.
        """
        events: dict[int, Event] = {}
        after = parked.from_seq - 1
        while after < parked.to_seq:
            page = self._event_log.read(
                parked.channel_id, after=after, limit=min(_PAGE, parked.to_seq - after)
            )
            if not page.items:
                break
            events |= {event.seq: event for event in page.items}
            after = page.items[-1].seq
        return self.deliver({parked.channel_id: events} if events else {})

    def _gather(
        self, events: Mapping[str, EventsBySeq]
    ) -> tuple[list[Audience], list[ParkedRange]]:
        """The channels' audiences, read side by side; a channel that fails fails alone."""
        gathering = {
            channel_id: self._threads.submit(self._audiences.gather, channel_id, some)
            for channel_id, some in events.items()
            if some
        }
        wait(gathering.values(), timeout=GATHER_SECONDS)
        audiences: list[Audience] = []
        undelivered: list[ParkedRange] = []
        for channel_id, future in gathering.items():
            reason = _failure(future)
            if reason is None:
                audiences.append(future.result())
            else:
                seqs = events[channel_id].keys()
                undelivered.append(_range(channel_id, seqs, reason))
        return audiences, undelivered

    def _listeners(self, audiences: Sequence[Audience]) -> dict[str, list[Listener]]:
        """Who is due what, by connection, as of the moment that the frames leave.

        A channel that took long to read holds back the batch: the others are asked again.
        """
        freshly = time.monotonic() - self._fresh_seconds
        stale = [audience for audience in audiences if audience.read_at < freshly]
        fresh = [audience for audience in audiences if audience.read_at >= freshly]
        listeners: dict[str, list[Listener]] = defaultdict(list)
        for audience in fresh:
            for connection_id, listener in audience.listeners.items():
                listeners[connection_id].append(listener)
        for connection_id, some in self._still_listening(stale).items():
            listeners[connection_id] += some
        return listeners

    def _still_listening(
        self, audiences: Sequence[Audience], among: frozenset[str] | None = None
    ) -> dict[str, list[Listener]]:
        """Listeners who are still subscribed: nothing of a channel they were taken off is due.

        Where storage does not answer, who was one before.
        """
        asked = [
            audience
            for audience in audiences
            if (among is None or among & audience.listeners.keys()) and audience.listeners
        ]
        listeners: dict[str, list[Listener]] = defaultdict(list)
        for audience, there in zip(asked, self._threads.map(self._subscribed, asked), strict=True):
            for connection_id in there if among is None else there & among:
                listeners[connection_id].append(audience.listeners[connection_id])
        return listeners

    def _subscribed(self, audience: Audience) -> frozenset[str]:
        try:
            return self._audiences.still_listening(audience)
        except UnavailableError:
            log.warning("subscriptions unread", channel_id=audience.channel_id)
            return frozenset(audience.listeners)

    def _note_taken(self, audiences: Sequence[Audience], missed: frozenset[str]) -> None:
        for audience in audiences:
            last = audience.events[-1].seq
            self._progress.note_channel(audience.channel_id, last)
            for connection_id, listener in audience.listeners.items():
                if connection_id not in missed:
                    self._progress.note_taken(listener.subscription)
                    if is_settling(listener.subscription):
                        self._progress.note_subscription(listener.subscription, last)

    def _note_owed(self, audiences: Sequence[Audience], failed: frozenset[str]) -> None:
        for audience in audiences:
            for connection_id in failed & audience.listeners.keys():
                listener = audience.listeners[connection_id]
                self._progress.note_owed(listener.subscription, listener.after)

    def _is_outage(
        self,
        listeners: Mapping[str, Sequence[Listener]],
        failed: frozenset[str],
        outcome: Outcome,
    ) -> bool:
        """Whether it is the callback API that takes nothing, and not this or that connection.

        It is where nobody was reached for a while, though more than one user was to be.
        """
        moment = self._clock()
        if outcome.delivered or outcome.gone:
            self._reached_at = moment
        users = {
            listener.subscription.user_id
            for connection_id in failed
            for listener in listeners[connection_id]
        }
        return len(users) > 1 and moment - self._reached_at >= OUTAGE_SECONDS

    def _tidy(self, audiences: Sequence[Audience], outcome: Outcome) -> list[ParkedRange]:
        """Forgets connections that are gone, closes expired ones, ends what is over."""
        expired = {each for audience in audiences for each in audience.expired}
        chores = [
            *(self._threads.submit(self._connections.forget, each) for each in outcome.gone),
            *(self._threads.submit(self._close, each) for each in expired - outcome.gone),
        ]
        by_channel = {audience.channel_id: audience for audience in audiences}
        ending = {
            channel_id: self._threads.submit(self._end_departed, audience)
            for channel_id, audience in by_channel.items()
            if audience.departed
        }
        self._deletions.note(audiences)
        chores += [self._threads.submit(self._end_channel, each) for each in self._deletions.due()]
        wait([*chores, *ending.values()], timeout=TIDY_SECONDS)
        for chore in chores:
            # What fails here is met again: a dead connection at its next 410, an expired one too,
            # a deleted channel with the next batch.
            _failure(chore)
        return [
            _range(channel_id, [event.seq for event in by_channel[channel_id].events], reason)
            for channel_id, future in ending.items()
            if (reason := _failure(future)) is not None
        ]

    def _close(self, connection_id: str) -> None:
        """Unless it was renewed after its subscription was read."""
        if self._connections.find(connection_id) is not None:
            return
        self._broadcaster.delete_connection(connection_id)
        self._connections.forget(connection_id)

    def _end_departed(self, audience: Audience) -> None:
        """What the API does on removal, where it could not: who is removed hears nothing more."""
        removed = [
            connection_id
            for user_id in audience.departed
            for connection_id in self._connections.remove_user(audience.channel_id, user_id)
        ]
        if removed:
            time.sleep(self._last_frames_seconds)
            self._say_unsubscribed(audience.channel_id, removed, "removed")

    def _end_channel(self, channel_id: str) -> None:
        removed = self._connections.remove_channel(channel_id)
        if removed:
            self._say_unsubscribed(channel_id, removed, "deleted")
        self._deletions.done(channel_id)

    def _say_unsubscribed(
        self, channel_id: str, connection_ids: Iterable[str], reason: UnsubscribedReason
    ) -> None:
        """To those who have not subscribed again meanwhile."""
        ended = frozenset(connection_ids)

        def still_away() -> frozenset[str]:
            rows = self._connections.subscriptions(channel_id, include_replaying=True)
            return ended - {row.connection_id for row in rows}

        frame = encoded_frames.unsubscribed(channel_id, reason)
        self._unsubscribing.send_to_connections(still_away, frame)


def _unreached(audiences: Iterable[Audience], failed: frozenset[str]) -> list[ParkedRange]:
    """Channels none of whose connections could be reached."""
    return [
        _range(audience.channel_id, [event.seq for event in audience.events], "push")
        for audience in audiences
        if audience.listeners and audience.listeners.keys() <= failed
    ]


def _failure[T](future: Future[T]) -> ParkingReason | None:
    """Why a future has no result. Of what it raised only the kind is logged: it may quote text."""
    if not future.done() or future.cancelled():
        future.cancel()
        return "unavailable"
    error = future.exception()
    if error is None:
        return None
    log.error("part of a batch failed", error=type(error).__name__)
    return "unavailable" if isinstance(error, UnavailableError) else "internal"


def _range(channel_id: str, seqs: Iterable[int], reason: ParkingReason) -> ParkedRange:
    numbers = list(seqs)
    return ParkedRange(
        channel_id=channel_id, from_seq=min(numbers), to_seq=max(numbers), reason=reason
    )
