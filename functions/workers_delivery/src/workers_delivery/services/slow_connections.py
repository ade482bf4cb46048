"""What becomes of a connection that does not take a push in time (docs/adr/0050)."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from commons.dal import IRepository
from commons.errors import ChannelNotFoundError, UnavailableError
from commons.observability import log
from commons.realtime.broadcaster import IBroadcaster
from commons.records.connection import Subscription
from commons.services.base import BaseService
from commons.services.connections import ConnectionEndedError, ConnectionsService
from commons.services.replay import NotTakenError, ReplayService
from workers_delivery.queues import IDeliveryQueues
from workers_delivery.schemas import CatchUp

_AT_ONCE: Final = 16


class SlowConnectionsService(BaseService):
    """Puts subscriptions back to `replaying`, brings them up from the log, closes what hangs.

    Args:
        gateway: closes connections.
        epoch: milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        connections: ConnectionsService,
        replay: ReplayService,
        gateway: IBroadcaster,
        queues: IDeliveryQueues,
        epoch: Callable[[], int],
    ) -> None:
        super().__init__(repository)
        self._connections = connections
        self._replay = replay
        self._gateway = gateway
        self._queues = queues
        self._epoch = epoch
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="slow")

    def put_back(self, subscriptions: Iterable[tuple[Subscription, int]]) -> frozenset[str]:
        """Each with the last event that its connection holds; a message brings it up from there.

        Where the queue fails, or storage's answer was lost, whoever delivers half a minute later
        finds the subscription adrift.

        Returns:
            The channels of subscriptions that storage did not put back, as far as is known.
        """
        subscriptions = list(subscriptions)
        replaying: list[Subscription] = []
        left: set[str] = set()
        for (row, _), again in zip(
            subscriptions, self._threads.map(self._put_back, subscriptions), strict=True
        ):
            if isinstance(again, Subscription):
                replaying.append(again)
            elif again is not None:
                left.add(row.channel_id)
        self._send(replaying)
        return frozenset(left)

    def catch_up(self, errand: CatchUp) -> bool:
        """Brings a subscription up.

        Returns:
            False where that is to be tried again: the API did not even close the connection.

        Raises:
            UnavailableError: storage did not answer.
        """
        row = self._connections.find_subscription(
            errand.channel_id, errand.user_id, errand.connection_id, errand.shard
        )
        if row is None or not _is_meant(row, errand):
            return True
        if row.expires_at <= self._epoch() // 1_000:
            return self.close_expired(row.connection_id)
        try:
            self._replay.run(row, after=row.live_after or 0)
        except ConnectionEndedError:
            return True
        except ChannelNotFoundError:
            self._connections.end([row])
        except NotTakenError as error:
            return self._judge(error)
        return True

    def close_expired(self, connection_id: str) -> bool:
        """Closes a connection, unless it was renewed after its subscription was read."""
        return self._connections.find(connection_id) is not None or self._close(connection_id)

    def _close(self, connection_id: str) -> bool:
        """Its client comes back; False where the API did not do it."""
        if not self._gateway.delete_connection(connection_id):
            return False
        self._connections.forget(connection_id)
        return True

    def _put_back(self, slow: tuple[Subscription, int]) -> Subscription | UnavailableError | None:
        row, after = slow
        try:
            return self._connections.replay_from(row, after)
        except UnavailableError as error:
            log.warning("subscription not put back", error=type(error).__name__)
            return error

    def _send(self, replaying: Sequence[Subscription]) -> None:
        errands = [_catch_up(row) for row in replaying]
        try:
            self._queues.send_catch_up(errands)
        except UnavailableError as error:
            log.warning("subscriptions left adrift", count=len(errands), error=type(error).__name__)

    def _judge(self, error: NotTakenError) -> bool:
        """What takes something is brought up from there; what took nothing for 10 s is closed."""
        row = error.subscription
        if error.took_any or row.state == "live":
            again = self._connections.replay_from(row, error.through)
            if again is not None:
                self._send([again])
            return True
        current = self._connections.find_subscription(
            row.channel_id, row.user_id, row.connection_id, row.shard
        )
        if current is None or not _is_meant(current, _catch_up(row)):
            return True
        log.info("connection closed", connection_id=row.connection_id)
        return self._close(row.connection_id)


def _is_meant(row: Subscription, errand: CatchUp) -> bool:
    return row.state == "replaying" and row.replaying_since == errand.replaying_since


def _catch_up(row: Subscription) -> CatchUp:
    return CatchUp(
        channel_id=row.channel_id,
        user_id=row.user_id,
        connection_id=row.connection_id,
        shard=row.shard,
        replaying_since=row.replaying_since or 0,
    )
