"""One frame to everybody who listens to a channel: typing, read marks, presence, deltas."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from commons.dal import IRepository
from commons.observability import metrics
from commons.realtime.broadcaster import IBroadcaster, Outcome, Post
from commons.schemas.connection import Subscription
from commons.services.base import BaseService
from commons.services.connections import ConnectionsService

EPHEMERAL_BUDGET_SECONDS: Final = 1.0
"""A frame that is not in the log is worth nothing once it is late, and who was removed from the
channel after its subscriptions were read is to hear nothing 1 s later."""

_FAREWELL_BUDGET_SECONDS: Final = 3.0
_FORGET_AT_ONCE: Final = 16


class ISubscriptions(Protocol):
    """What a broadcast asks of ConnectionsService."""

    def subscriptions(self, channel_id: str) -> list[Subscription]: ...

    def forget(self, connection_id: str) -> None: ...


class ChannelBroadcastService(BaseService):
    """Sends frames to a channel's live subscriptions and forgets connections that are gone.

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
    ) -> Outcome:
        """One query, one post a connection and frame.

        Args:
            channel_id: to whose live, unexpired subscriptions the frames go.
            frames: in this order.
            except_users: who is not told; typing and read marks spare their own user.
        """
        audience = [
            subscription
            for subscription in self._connections.subscriptions(channel_id)
            if subscription.user_id not in except_users
        ]
        return self.send_to(audience, frames)

    def send_to(self, audience: Iterable[Subscription], frames: Sequence[bytes]) -> Outcome:
        """As `send`, to subscriptions that the caller has read."""
        posts = [
            Post(subscription.connection_id, tuple(frames), subscription.connected_at)
            for subscription in audience
        ]
        return self._send(posts)

    def send_to_connections(self, connection_ids: Iterable[str], frame: bytes) -> Outcome:
        """To connections whose subscriptions are gone: the frame `unsubscribed`.

        Forgets nobody: of a connection that answers 410 it does not know whether it is so young
        that its handshake still runs.
        """
        posts = [Post(connection_id, (frame,)) for connection_id in connection_ids]
        return self._broadcaster.send(posts, budget_seconds=_FAREWELL_BUDGET_SECONDS)

    def _send(self, posts: Sequence[Post]) -> Outcome:
        outcome = self._broadcaster.send(posts, budget_seconds=EPHEMERAL_BUDGET_SECONDS)
        if outcome.gone:
            metrics.add_metric(name="StaleConnection", unit="Count", value=len(outcome.gone))
            with ThreadPoolExecutor(_FORGET_AT_ONCE) as threads:
                list(threads.map(self._connections.forget, outcome.gone))
        return outcome
