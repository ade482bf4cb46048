"""One channel's part of a batch, on its way to whoever listens."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from commons.clock import rfc3339
from commons.dynamodb.exceptions import StorageBusyError
from commons.errors import ChannelNotFoundError
from commons.realtime.broadcaster import IBroadcaster, Post
from commons.realtime.encoded_frames import MAX_EVENT_BYTES, event_json, pack_events
from commons.records.connection import REPLAY_SECONDS, SETTLING_SECONDS, Subscription
from commons.schemas.event import Event, MemberLeft
from commons.services.connections import ConnectionsService
from commons.services.event_log import EventLogService
from commons.services.membership import MembershipService
from commons.services.removals import RemovalsService
from workers_delivery.schemas import ParkedRange

FULL_ROOM: Final = 1_000
"""Subscriptions above which a room is delivered shard by shard, apart from the stream."""

PUSH_SECONDS: Final = 30.0
"""For a push apart from the stream: 100,000 posts of one worker. A batch of the stream ends sooner."""

MAX_CATCH_UP: Final = 1_000
"""Events read from the log for a subscription that has just gone live; more are the client's."""

LIST_SECONDS: Final = 0.25
"""Past this the list of who listens is held to who was removed before the first frame leaves: with
the 0.75 s that the broadcaster trusts it, nothing leaves to a list that is older than 1 s."""

TEXT_MILLISECONDS: Final = 500
"""Past this, what the stream handed over is read from the log again: its text may be deleted by now,
and a frame may need half a second."""

_PAGE: Final = 200

type EventsBySeq = Mapping[int, Event]
type _Share = tuple[int, int | None]
"""The events past a number, up to another where that is set: equal shares are equal bytes."""


class IGateway(IBroadcaster, Protocol):
    """Sends frames, and tells its own trouble from a connection's."""

    def serves(self, connection_ids: Iterable[str]) -> bool:
        """Whether it answers what is asked about these connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PushContext:
    """What every push works with.

    Attributes:
        clock: seconds that never go back.
        epoch: milliseconds.
    """

    connections: ConnectionsService
    removals: RemovalsService
    event_log: EventLogService
    membership: MembershipService
    gateway: IGateway
    clock: Callable[[], float]
    epoch: Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Events that a channel's listeners are due, by number, as far as they are known already.

    Attributes:
        shard: None: of the whole room.
        shards: over how many the room was spread when this was told.
        is_of_queue: it waits behind nothing: what was to come before it has come.
    """

    channel_id: str
    first: int
    last: int
    known: EventsBySeq = field(default_factory=dict)
    shard: int | None = None
    shards: int = 1
    is_of_queue: bool = False


@dataclass(slots=True)
class PushReport:
    """What became of a push.

    Attributes:
        rooms_shards: a room that is too full for one worker is spread over so many, and nobody was
            sent anything; 0: it is not.
        is_behind: earlier events wait in the queue, and nobody was sent anything.
        listening: live subscriptions there were.
        delivered: connections that took all of their frames.
        gone: connections that do not exist any more.
        slow: subscriptions whose connections did not take their frames in time, each with the last
            event that it is known to hold.
        adrift: subscriptions whose replay nobody is at any more.
        expired: connections past their credential's end.
        departed: users who left, and had not been unsubscribed yet.
        oversized: events that no frame can carry.
        is_cut_short: not everybody had their turn.
    """

    stretch: Stretch
    rooms_shards: int = 0
    is_behind: bool = False
    listening: int = 0
    delivered: int = 0
    gone: frozenset[str] = frozenset()
    slow: list[tuple[Subscription, int]] = field(default_factory=list)
    adrift: list[Subscription] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    departed: frozenset[str] = frozenset()
    oversized: list[ParkedRange] = field(default_factory=list)
    is_cut_short: bool = False


class ChannelPush:
    """Reads who listens, fills holes from the log, posts. To be run once, in a thread of its own."""

    def __init__(self, context: PushContext, stretch: Stretch) -> None:
        self._context = context
        self._stretch = stretch
        self._report = PushReport(stretch)
        self._listeners: dict[str, Subscription] = {}
        self._began_at = 0
        self._events: dict[int, Event] = dict(stretch.known)
        self._encoded: dict[int, bytes] = {}
        self._frames: dict[_Share, tuple[bytes, ...]] = {}
        self._text_read_at = 0
        self._left_at: dict[str, int] = {}
        self._is_abandoned = False

    @property
    def stretch(self) -> Stretch:
        return self._stretch

    def abandon(self) -> None:
        """Nobody waits for it any more: it posts nothing that it has not begun to post."""
        self._is_abandoned = True

    def run(self) -> PushReport:
        """Posts what everybody is due, once.

        Raises:
            UnavailableError: storage did not answer, or the push was abandoned.
        """
        report, context = self._report, self._context
        began = context.clock()
        self._read_listeners()
        if report.is_behind or report.rooms_shards or not self._listeners:
            return report
        self._read_events()
        self._note_departures()
        if context.clock() - began > LIST_SECONDS:
            self._drop_removed()
        outcome = context.gateway.send(
            self._posts(self._listeners).values(),
            budget_seconds=PUSH_SECONDS,
            revalidate=self._look_again,
        )
        report.delivered = outcome.delivered
        report.gone = outcome.gone
        report.is_cut_short = bool(outcome.untried)
        report.slow = [
            (row, self._after(row))
            for connection_id in (outcome.failed - outcome.untried) | outcome.unready
            if (row := self._listeners.get(connection_id)) is not None
        ]
        return report

    def _read_listeners(self) -> None:
        context, stretch = self._context, self._stretch
        self._began_at = context.epoch()
        if stretch.shard is None:
            page = context.connections.first_page(stretch.channel_id, FULL_ROOM)
            if page.backlog is not None and not stretch.is_of_queue:
                self._report.is_behind = True
                return
            if page.shards:
                self._report.rooms_shards = page.shards
                return
            rows = page.subscriptions
        else:
            rows = context.connections.shard(stretch.channel_id, stretch.shard)
        self._report.adrift = [row for row in rows if self._is_adrift(row)]
        seconds = self._began_at // 1_000
        self._report.expired = [row.connection_id for row in rows if row.expires_at <= seconds]
        self._listeners = {
            row.connection_id: row
            for row in rows
            if row.state == "live" and row.expires_at > seconds
        }
        self._report.listening = len(self._listeners)

    def _is_adrift(self, row: Subscription) -> bool:
        """An older release does not say where a replay began: nobody but its client can mend it."""
        if row.replaying_since is None or row.live_after is None:
            return False
        return self._began_at - row.replaying_since > REPLAY_SECONDS * 1_000

    def _read_events(self) -> None:
        """What anybody is due, from the log where the stream left it out or handed it over late."""
        stretch, moment = self._stretch, self._context.epoch()
        start = min(map(self._after, self._listeners.values()))
        oldest = rfc3339(datetime.fromtimestamp((moment - TEXT_MILLISECONDS) / 1_000, UTC))
        is_known = all(seq in self._events for seq in range(start + 1, stretch.last + 1))
        if is_known and all(event.created_at >= oldest for event in self._events.values()):
            self._text_read_at = moment
            return
        self._text_read_at = self._context.epoch()
        found: dict[int, Event] = {}
        after = start
        while after < stretch.last:
            page = self._context.event_log.read(
                stretch.channel_id, after=after, limit=min(_PAGE, stretch.last - after)
            )
            if not page.items:
                break
            found |= {event.seq: event for event in page.items}
            after = page.items[-1].seq
        self._events = found
        self._encoded.clear()
        self._frames.clear()

    def _after(self, row: Subscription) -> int:
        """The last event that the subscription is not due any more."""
        base = self._stretch.first - 1
        if row.live_after is None or row.live_since is None:
            return base
        is_settling = self._began_at - row.live_since < SETTLING_SECONDS * 1_000
        if is_settling and self._stretch.last - row.live_after <= MAX_CATCH_UP:
            return row.live_after
        return max(row.live_after, base)

    def _note_departures(self) -> None:
        """Whoever left, is no member now and still listens gets nothing past the leaving."""
        listening = {row.user_id for row in self._listeners.values()}
        left = {
            event.data.user_id: event.seq
            for event in self._events.values()
            if isinstance(event, MemberLeft) and event.data.user_id in listening
        }
        self._left_at = {user: seq for user, seq in left.items() if not self._is_member(user)}
        self._report.departed = frozenset(self._left_at)

    def _is_member(self, user_id: str) -> bool:
        try:
            self._context.membership.require_member(self._stretch.channel_id, user_id)
        except ChannelNotFoundError:
            return False
        return True

    def _look_again(self, waiting: frozenset[str]) -> Mapping[str, Post]:
        if self._is_abandoned:
            raise StorageBusyError("the push was abandoned")
        self._drop_removed()
        if not self._listeners:
            return {}
        if self._context.epoch() - self._text_read_at > TEXT_MILLISECONDS:
            self._events = {}
            self._read_events()
        return self._posts(waiting)

    def _drop_removed(self) -> None:
        """Takes off the list whoever was removed since it was read."""
        channel_id = self._stretch.channel_id
        removals = self._context.removals.since(channel_id, self._began_at)
        if removals is None:
            left = {row.identity for row in self._context.connections.room(channel_id)}
        elif removals.closed:
            left = set()
        else:
            left = {row.identity for row in self._listeners.values()} - removals.removed
        self._listeners = {
            connection_id: row
            for connection_id, row in self._listeners.items()
            if row.identity in left
        }

    def _posts(self, connection_ids: Iterable[str]) -> dict[str, Post]:
        """What each of them is due at this moment."""
        if self._is_abandoned:
            raise StorageBusyError("the push was abandoned")
        seconds = self._context.epoch() // 1_000
        posts: dict[str, Post] = {}
        for connection_id in connection_ids:
            row = self._listeners.get(connection_id)
            if row is None or row.expires_at <= seconds:
                continue
            frames = self._pack((self._after(row), self._left_at.get(row.user_id)))
            if frames:
                posts[connection_id] = Post(connection_id, frames, row.connected_at)
        return posts

    def _pack(self, share: _Share) -> tuple[bytes, ...]:
        if share not in self._frames:
            after, through = share
            self._frames[share] = pack_events(
                encoded
                for seq in sorted(self._events)
                if seq > after and (through is None or seq <= through)
                if (encoded := self._encode(self._events[seq])) is not None
            )
        return self._frames[share]

    def _encode(self, event: Event) -> bytes | None:
        """None for an event that fits no frame."""
        if event.seq not in self._encoded:
            self._encoded[event.seq] = event_json(event)
            if len(self._encoded[event.seq]) > MAX_EVENT_BYTES:
                self._report.oversized.append(
                    ParkedRange(
                        channel_id=event.channel_id,
                        from_seq=event.seq,
                        to_seq=event.seq,
                        reason="too_large",
                    )
                )
        encoded = self._encoded[event.seq]
        return encoded if len(encoded) <= MAX_EVENT_BYTES else None
