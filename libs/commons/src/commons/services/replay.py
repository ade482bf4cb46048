"""From the past to the present: what a subscription missed, in order, and then live (docs/adr/0006).

For whoever subscribes with `after`, and for connections that did not take a push in time.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from commons.dal import IRepository
from commons.errors import ChannelNotFoundError, TooManyRequestsError
from commons.realtime.broadcaster import IBroadcaster, Post
from commons.realtime.encoded_frames import event_json, pack_and_count
from commons.records.connection import Subscription
from commons.schemas.event import Event, EventPage
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader
from commons.services.connections import ConnectionEndedError, ConnectionsService
from commons.services.event_log import EventLogService
from commons.services.membership import MembershipService

MAX_EVENTS: Final = 1_000
MAX_BYTES: Final = 1_048_576

PAST_SECONDS: Final = 10.0
"""For posting what was there when the replay began."""

TAIL_SECONDS: Final = 8.0
"""For posting what came meanwhile, and the last frame. Delivery takes care of order for 30 s after
a subscription went live: this ends well within them."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """How far a replay came.

    Attributes:
        through: the number of the last event that was posted.
        has_more: a limit ended it before the log's end.
    """

    through: int
    has_more: bool


class NotTakenError(TooManyRequestsError):
    """The connection does not take its frames fast enough.

    Attributes:
        subscription: as it is now.
        through: the number of the last event that it took.
        took_any: whether it took anything at all.
    """

    def __init__(self, subscription: Subscription, through: int, *, took_any: bool) -> None:
        super().__init__("Frames do not get through to you: subscribe again.")
        self.subscription = subscription
        self.through = through
        self.took_any = took_any


@dataclass(slots=True)
class _Stretch:
    """Events that are to be posted, and how far they reach.

    Attributes:
        through: the number of the last one; `after` where there is none.
        last_seq: the log's last number when it was read last.
        has_more: a limit ended the stretch before `last_seq`.
    """

    through: int
    last_seq: int = 0
    has_more: bool = True
    seqs: list[int] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    size: int = 0

    def take(self, event: Event) -> bool:
        """Adds the event; False where a limit forbids it. The first one always fits."""
        encoded = event_json(event)
        is_full = len(self.events) >= MAX_EVENTS or self.size + len(encoded) > MAX_BYTES
        if self.events and is_full:
            return False
        self.seqs.append(event.seq)
        self.events.append(encoded)
        self.size += len(encoded)
        self.through = event.seq
        return True

    def frames(self) -> "list[_Frame]":
        """Each with the number of its last event."""
        frames: list[_Frame] = []
        held = 0
        for body, count in pack_and_count(self.events):
            held += count
            frames.append(_Frame(body, self.seqs[held - 1]))
        return frames


@dataclass(frozen=True, slots=True)
class _Frame:
    body: bytes
    through: int


class ReplayService(BaseService):
    """Brings subscriptions from `replaying` to `live`.

    Args:
        broadcaster: posts the events and the last frame: a route's own answer is in no order to
            posts.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        broadcaster: IBroadcaster,
        connections: ConnectionsService,
        event_log: EventLogService,
        membership: MembershipService,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(repository)
        self._broadcaster = broadcaster
        self._connections = connections
        self._event_log = event_log
        self._membership = membership
        self._clock = clock
        self._reader = ChannelReader(self.repository)

    def run(
        self,
        subscription: Subscription,
        *,
        after: int,
        last_frame: Callable[[Replayed], bytes] | None = None,
    ) -> Replayed:
        """Posts the events after `after`, goes live, posts what came meanwhile and the last frame.

        Raises:
            ChannelNotFoundError: the user is no member any more, or the subscription was removed.
            ConnectionEndedError: nobody is there any more; the connection is forgotten.
            NotTakenError: the gateway does not take the frames fast enough.
        """
        past = self._read(subscription, after)
        self._post(subscription, after, past.frames(), PAST_SECONDS)
        live = self._connections.go_live(subscription, live_after=past.last_seq)
        current = live or subscription
        # Where a limit ended the past, the client goes on with `sync`, and that covers the tail.
        tail = (
            _Stretch(through=past.through) if past.has_more else self._read(current, past.through)
        )
        replayed = Replayed(tail.through, tail.has_more)
        frames = tail.frames()
        if last_frame is not None:
            frames.append(_Frame(last_frame(replayed), tail.through))
        self._post(current, past.through, frames, TAIL_SECONDS)
        if live is not None:
            self._connections.settle(live)
        return replayed

    def _read(self, subscription: Subscription, after: int) -> _Stretch:
        """What there is after `after`, until the log ends or a limit is met."""
        stretch = _Stretch(through=after)
        while True:
            page = self._page(subscription, stretch.through)
            stretch.last_seq = page.last_seq
            for event in page.items:
                if not stretch.take(event):
                    return stretch
            if not page.has_more:
                stretch.through, stretch.has_more = page.last_seq, False
                return stretch

    def _page(self, subscription: Subscription, after: int) -> EventPage:
        channel_id = subscription.channel_id
        shown = self._reader.show(
            channel_id,
            subscription.user_id,
            lambda: self._event_log.read(channel_id, after=after, limit=MAX_EVENTS),
        )
        return shown.content

    def _post(
        self, subscription: Subscription, after: int, frames: Sequence[_Frame], seconds: float
    ) -> None:
        """One frame after the other, so that it is known which of them were taken."""
        deadline = self._clock() + seconds
        reached = after
        for position, frame in enumerate(frames):
            if not self._is_taken(subscription, frame.body, deadline):
                raise NotTakenError(subscription, reached, took_any=position > 0)
            reached = frame.through

    def _is_taken(self, subscription: Subscription, frame: bytes, deadline: float) -> bool:
        post = Post(subscription.connection_id, (frame,), subscription.connected_at)

        def for_members_only(_waiting: frozenset[str]) -> Mapping[str, Post]:
            try:
                self._membership.open_channel(subscription.channel_id, subscription.user_id)
            except ChannelNotFoundError:
                return {}
            return {post.connection_id: post}

        while (left := deadline - self._clock()) > 0:
            outcome = self._broadcaster.send(
                [post], budget_seconds=left, revalidate=for_members_only
            )
            if outcome.gone:
                self._connections.forget(subscription.connection_id)
                raise ConnectionEndedError
            if outcome.delivered:
                return True
            if not outcome.failed and not outcome.unready:
                raise ChannelNotFoundError
            if outcome.failed:
                return False
            # Its handshake still runs: it is tried until it has ended.
        return False
