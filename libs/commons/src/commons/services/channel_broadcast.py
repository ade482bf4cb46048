"""One frame to everybody who listens to a channel: typing, read marks, presence, deltas."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from commons.dal import IRepository
from commons.errors import UnavailableError
from commons.observability import log, metrics
from commons.realtime.broadcaster import IBroadcaster, Outcome, Post, Revalidate
from commons.records.connection import Subscription
from commons.services.base import BaseService
from commons.services.connections import ConnectionsService

EPHEMERAL_BUDGET_SECONDS: Final = 0.75
"""A frame that is not in the log is worth nothing once it is late. From reading the subscriptions
on, because who is removed after that is to hear nothing 1 s later."""

_MIN_BUDGET_SECONDS: Final = 0.1
"""Where the subscriptions took long to read: enough for one attempt."""

_FAREWELL_BUDGET_SECONDS: Final = 3.0
_FORGET_AT_ONCE: Final = 16


class ISubscriptions(Protocol):
    """What a broadcast asks of ConnectionsService."""

    def subscriptions(self, channel_id: str) -> list[Subscription]: ...

    def forget(self, connection_id: str) -> None: ...


class ChannelBroadcastService(BaseService):
    """Sends frames to a channel's live subscriptions and forgets connections that are gone.

    Frames are told after what they tell of is stored, so sending is best effort: what storage or
    the network did raises nothing here, and turns no write that was made into an error.

    Args:
        broadcaster: how frames reach connections.
        connections: by default ConnectionsService on the same repository.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        broadcaster: IBroadcaster,
        connections: ISubscriptions | None = None,
    ) -> None:
        super().__init__(repository)
        self._broadcaster = broadcaster
        self._connections = connections or ConnectionsService(self.repository)

    def send(
        self, channel_id: str, *frames: bytes, except_users: frozenset[str] = frozenset()
    ) -> Outcome | None:
        """One query, one post a connection and frame; None where storage did not say who listens.

        Args:
            channel_id: to whose live, unexpired subscriptions the frames go.
            frames: in this order.
            except_users: who is not told; typing and read marks spare their own user.
        """
        read_at = time.monotonic()
        try:
            subscriptions = self._connections.subscriptions(channel_id)
        except UnavailableError as error:
            _count_unsent(error, channel_id=channel_id)
            return None
        audience = [
            subscription
            for subscription in subscriptions
            if subscription.user_id not in except_users
        ]
        return self._send_to(audience, frames, time.monotonic() - read_at)

    def send_to(self, audience: Iterable[Subscription], frames: Sequence[bytes]) -> Outcome:
        """As `send`, to subscriptions that the caller has read just before."""
        return self._send_to(audience, frames, 0.0)

    def send_to_connections(
        self, still_away: Callable[[], frozenset[str]], frame: bytes
    ) -> Outcome | None:
        """To connections whose subscriptions are gone: the frame `unsubscribed`.

        `still_away` names them; it is asked again before frames that wait are tried again, and
        where storage does not answer it, nothing is sent: None.

        Forgets nobody: of a connection that answers 410 it does not know whether it is so young
        that its handshake still runs.
        """

        def posts_to(connection_ids: Iterable[str]) -> dict[str, Post]:
            return {each: Post(each, (frame,)) for each in connection_ids}

        def look_again(waiting: frozenset[str]) -> Mapping[str, Post]:
            try:
                return posts_to(waiting & still_away())
            except UnavailableError as error:
                _count_unsent(error)
                return {}

        try:
            posts = posts_to(still_away())
        except UnavailableError as error:
            _count_unsent(error)
            return None
        return self._broadcaster.send(
            posts.values(), budget_seconds=_FAREWELL_BUDGET_SECONDS, revalidate=look_again
        )

    def _send_to(
        self, audience: Iterable[Subscription], frames: Sequence[bytes], elapsed: float
    ) -> Outcome:
        budget_seconds = max(EPHEMERAL_BUDGET_SECONDS - elapsed, _MIN_BUDGET_SECONDS)
        posts = [
            Post(subscription.connection_id, tuple(frames), subscription.connected_at)
            for subscription in audience
        ]
        return self.post(posts, budget_seconds=budget_seconds)

    def post(
        self,
        posts: Iterable[Post],
        *,
        budget_seconds: float,
        revalidate: Revalidate | None = None,
    ) -> Outcome:
        """Sends posts that the caller has put together, and forgets connections that are gone."""
        outcome = self._broadcaster.send(
            posts, budget_seconds=budget_seconds, revalidate=revalidate
        )
        if outcome.gone:
            metrics.add_metric(name="StaleConnection", unit="Count", value=len(outcome.gone))
            with ThreadPoolExecutor(_FORGET_AT_ONCE) as threads:
                list(threads.map(self._forget, outcome.gone))
        return outcome

    def _forget(self, connection_id: str) -> None:
        try:
            self._connections.forget(connection_id)
        except UnavailableError as error:
            # It is met again at its next frame.
            log.warning("connection not forgotten", error=type(error).__name__)


def _count_unsent(error: UnavailableError, *, channel_id: str | None = None) -> None:
    log.warning("frames not sent", channel_id=channel_id, error=type(error).__name__)
    metrics.add_metric(name="DeliveryFailed", unit="Count", value=1)
