"""Subscribing with `after`: the past first, then the present (docs/adr/0006)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from commons.dal import IRepository
from commons.errors import ChannelNotFoundError, TooManyRequestsError
from commons.realtime.broadcaster import IBroadcaster, Post
from commons.realtime.encoded_frames import event_json, pack_events
from commons.records.connection import Connection, Subscription
from commons.schemas.event import Event
from commons.schemas.server_frames import AckFrame
from commons.services.base import BaseService
from commons.services.connections import ConnectionEndedError, ConnectionsService
from commons.services.membership import MembershipService
from websocket_session.services.catch_up import CatchUpService
from websocket_session.services.listeners import ListenersService

MAX_EVENTS: Final = 1_000
MAX_BYTES: Final = 1_048_576

PAST_SECONDS: Final = 10.0
"""For posting what was there when the subscription was asked for."""

TAIL_SECONDS: Final = 8.0
"""For posting what came meanwhile, and the ack. Delivery takes care of order for 30 s after a
subscription went live: this ends well within them."""


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
    events: list[bytes] = field(default_factory=list)
    size: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.events) >= MAX_EVENTS

    def take(self, event: Event) -> bool:
        """Adds the event; False where a limit forbids it. The first one always fits."""
        encoded = event_json(event)
        if self.is_full or (self.events and self.size + len(encoded) > MAX_BYTES):
            return False
        self.events.append(encoded)
        self.size += len(encoded)
        self.through = event.seq
        return True


class ReplayService(BaseService):
    """Subscribes a connection that says what it has seen.

    Args:
        broadcaster: posts the events and the ack: a route's own answer is in no order to posts.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        broadcaster: IBroadcaster,
        connections: ConnectionsService,
        membership: MembershipService,
        catch_up: CatchUpService,
        listeners: ListenersService,
    ) -> None:
        super().__init__(repository)
        self._broadcaster = broadcaster
        self._connections = connections
        self._membership = membership
        self._catch_up = catch_up
        self._listeners = listeners

    def subscribe(
        self, connection: Connection, channel_id: str, *, after: int, request_id: str | None
    ) -> None:
        """Posts the events after `after`, goes live, posts what came meanwhile, posts the ack.

        An error ends the subscription that this call began, and none that began after it.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
            ConflictError: the connection is subscribed to 50 others.
            ConnectionEndedError: nobody is there any more.
            TooManyRequestsError: the gateway does not take the frames fast enough.
        """
        subscription = self._connections.subscribe(connection, channel_id, state="replaying")
        try:
            self._replay(subscription, after, request_id)
        except BaseException:
            self._connections.end([subscription])
            raise

    def _replay(self, subscription: Subscription, after: int, request_id: str | None) -> None:
        past = self._read(subscription, after)
        self._post(subscription, pack_events(past.events), PAST_SECONDS)
        self._connections.go_live(subscription, live_after=past.last_seq)
        # Where a limit ended the past, the client goes on with `sync`, and that covers the tail.
        tail = (
            _Stretch(through=past.through)
            if past.has_more
            else self._read(subscription, past.through)
        )
        online = self._listeners.online(subscription.channel_id, subscription.user_id)
        ack = AckFrame(
            request_id=request_id,
            channel_id=subscription.channel_id,
            through=tail.through,
            has_more=tail.has_more,
            online=online.content,
        )
        frames = (*pack_events(tail.events), ack.to_json().encode())
        self._post(subscription, frames, TAIL_SECONDS)

    def _read(self, subscription: Subscription, after: int) -> _Stretch:
        """What there is after `after`, until the log ends or a limit is met."""
        stretch = _Stretch(through=after)
        while True:
            page = self._catch_up.page(
                subscription.channel_id,
                subscription.user_id,
                after=stretch.through,
                limit=MAX_EVENTS,
            ).content
            stretch.last_seq = page.last_seq
            for event in page.items:
                if not stretch.take(event):
                    return stretch
            if not page.has_more:
                stretch.through, stretch.has_more = page.last_seq, False
                return stretch

    def _post(
        self, subscription: Subscription, frames: tuple[bytes, ...], budget_seconds: float
    ) -> None:
        post = Post(subscription.connection_id, frames, subscription.connected_at)

        def for_members_only(_waiting: frozenset[str]) -> Mapping[str, Post]:
            try:
                self._membership.open_channel(subscription.channel_id, subscription.user_id)
            except ChannelNotFoundError:
                return {}
            return {post.connection_id: post}

        outcome = self._broadcaster.send(
            [post], budget_seconds=budget_seconds, revalidate=for_members_only
        )
        if outcome.gone:
            self._connections.forget(subscription.connection_id)
            raise ConnectionEndedError
        if outcome.failed or outcome.unready:
            raise TooManyRequestsError("Frames do not get through to you: subscribe again.")
        if frames and not outcome.delivered:
            raise ChannelNotFoundError
