"""Open connections: how they come, count and go."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import batched
from typing import Final, Protocol

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import (
    Compare,
    Condition,
    IRepository,
    Item,
    PutWrite,
    Query,
    Table,
    Update,
    Write,
)
from commons.dynamodb.exceptions import ConditionFailedError, TransactionCanceledError
from commons.errors import (
    ChannelNotFoundError,
    InvalidRequestError,
    TooManyRequestsError,
    UnauthenticatedError,
)
from commons.records.connection import (
    CONNECTION_SECONDS,
    HANDSHAKE_SECONDS,
    MAX_CHANNELS,
    MAX_CONNECTIONS,
    Connection,
    Removals,
    Subscription,
    UserConnection,
)
from commons.schemas.caller import Caller
from commons.services.removals import RemovalsService
from commons.services.subscription_writes import (
    IS_THERE,
    add_partitions,
    may_subscribe,
    update_connection,
)
from commons.services.subscriptions import (
    AT_ONCE,
    ENDED,
    ConnectionEndedError,
    SubscriptionsService,
)

__all__ = ["ConnectionEndedError", "ConnectionsService", "IConnectionProbe", "connection_expiry"]

_PROBES_AT_ONCE: Final = 16


class IConnectionProbe(Protocol):
    """Whoever holds the open sockets; threads may share it."""

    def is_open(self, connection_id: str) -> bool:
        """False for a connection that was closed, and for one whose handshake still runs."""
        ...


class ConnectionsService(SubscriptionsService):
    """Connections come, subscribe, and go.

    Args:
        probe: asked which connections of a user at the cap are gone; without it none are found.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        probe: IConnectionProbe | None = None,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository, clock=clock)
        self._probe = probe
        self._removals = RemovalsService(self.repository, clock=clock)

    def register(
        self,
        connection_id: str,
        caller: Caller,
        *,
        connected_at: int,
        channels: Sequence[str] = (),
    ) -> Connection:
        """Takes a connection in, subscribed to `channels`; a refusal leaves nothing behind.

        Args:
            connection_id: as the gateway names it.
            caller: at whose token's end the connection ends.
            connected_at: epoch milliseconds.
            channels: 50 at most.

        Raises:
            UnauthenticatedError: the caller's token has ended.
            TooManyRequestsError: the user has 200 open connections.
            InvalidRequestError: more than 50 channels.
            ChannelNotFoundError: the caller is no member of one of them.
        """
        if len(set(channels)) > MAX_CHANNELS:
            raise InvalidRequestError.of("channels", f"at most {MAX_CHANNELS}")
        connection = Connection(
            connection_id=connection_id,
            user_id=caller.user_id,
            name=caller.name,
            token_expires_at=caller.expires_at,
            expires_at=connection_expiry(caller, connected_at),
            connected_at=connected_at,
            channels=self._places(connection_id, channels),
        )
        if connection.expires_at <= self._seconds():
            raise UnauthenticatedError("The token has expired.")
        with ExitStack() as undo:
            undo.callback(self._erase, connection)
            self._claim_place(connection)
            self._write_new(connection)
            undo.pop_all()
        return connection

    def find(self, connection_id: str) -> Connection | None:
        """One consistent read; None for a connection that is not registered, or has expired."""
        item = self.repository.find(
            Table.CONNECTIONS, keys.connection_key(connection_id), consistent=True
        )
        if item is None:
            return None
        connection = Connection.model_validate(item)
        return connection if connection.expires_at > self._seconds() else None

    def require(self, connection_id: str) -> Connection:
        """As `find`.

        Raises:
            ConnectionEndedError: instead of None.
        """
        connection = self.find(connection_id)
        if connection is None:
            raise ConnectionEndedError
        return connection

    def forget(self, connection_id: str) -> None:
        """Removes all that is known of a connection; nothing known is no error."""
        item = self.repository.find(
            Table.CONNECTIONS, keys.connection_key(connection_id), consistent=True
        )
        if item is not None:
            self._erase(Connection.model_validate(item))

    def remove_user(self, channel_id: str, user_id: str) -> list[str]:
        """Ends the user's subscriptions to the channel, unless the user is a member again.

        Call it once the member row is gone: a subscription that races is either refused by that
        or seen here. Membership is read after the subscriptions, so that none of a user who is
        back is ended. Whoever is sending to the channel meanwhile sees by the room's removals
        that they are not to hear more.

        Returns:
            The connections whose subscription this call removed: of several calls that race, one
            is told of each.
        """
        rows = self.of_user(channel_id, user_id)
        member = keys.member_key(channel_id, user_id)
        if not rows or self.repository.find(Table.CHANNELS, member, consistent=True) is not None:
            return []
        self._removals.note(channel_id, rows)
        return [row.connection_id for row in self.end(rows)]

    def removed_since(self, channel_id: str, began_at: int) -> Removals | None:
        """As `RemovalsService.since`."""
        return self._removals.since(channel_id, began_at)

    def remove_channel(self, channel_id: str) -> list[str]:
        """Ends every subscription to the channel, once it is marked as deleted.

        Returns:
            As `remove_user`.
        """
        rows = self.room(channel_id)
        if rows:
            self._removals.close(channel_id)
        ended = self.end(rows)
        self.repository.delete(Table.CONNECTIONS, keys.shards_key(channel_id))
        return [row.connection_id for row in ended]

    def _claim_place(self, connection: Connection) -> None:
        """Counts itself in before it counts: of two that race for the last place none slips by."""
        own: Item = {
            **keys.user_connection_key(connection.user_id, connection.connection_id),
            **connection.model_dump(include=set(UserConnection.model_fields)),
            "ttl": connection.expires_at,
        }
        self.repository.put(Table.CONNECTIONS, own)
        others = self._other_connections(connection)
        if len(others) < MAX_CONNECTIONS:
            return
        if len(others) - self._prune(others, connection.user_id) >= MAX_CONNECTIONS:
            raise TooManyRequestsError(
                f"A user has {MAX_CONNECTIONS} open connections at most.", retry_after=60
            )

    def _other_connections(self, connection: Connection) -> list[UserConnection]:
        query = Query(
            table=Table.CONNECTIONS,
            partition=keys.user_connections_partition(connection.user_id),
            consistent=True,
        )
        rows = map(UserConnection.model_validate, self.repository.iterate(query))
        moment = self._seconds()
        return [
            row
            for row in rows
            if row.connection_id != connection.connection_id and row.expires_at > moment
        ]

    def _prune(self, connections: Sequence[UserConnection], user_id: str) -> int:
        """Forgets those of the connections that are gone, and says how many those were."""
        if self._probe is None:
            return 0
        connected_before = self._clock() - HANDSHAKE_SECONDS * 1_000
        settled = [
            connection.connection_id
            for connection in connections
            if connection.connected_at < connected_before
        ]
        with ThreadPoolExecutor(_PROBES_AT_ONCE) as threads:
            is_open = list(threads.map(self._probe.is_open, settled))
        gone = [each for each, there in zip(settled, is_open, strict=True) if not there]
        for connection_id in gone:
            self.forget(connection_id)
        self.repository.batch_delete(
            Table.CONNECTIONS, [keys.user_connection_key(user_id, each) for each in gone]
        )
        return len(gone)

    def _write_new(self, connection: Connection) -> None:
        """Its row and its subscriptions; more than 33 take a second transaction."""
        new: Item = {
            **connection.model_dump(exclude_none=True, exclude={"partitions"}),
            **keys.connection_key(connection.connection_id),
            "channel_count": 0,
            "ttl": connection.expires_at,
        }
        first, *rest = list(batched(self._new_subscriptions(connection), AT_ONCE)) or [()]
        if first:
            added = add_partitions(first)
            new |= {**added.add, **added.add_to_set}
        self._write_subscriptions(first, PutWrite(Table.CONNECTIONS, new))
        for rows in rest:
            self._write_subscriptions(
                rows,
                update_connection(
                    connection.connection_id, add_partitions(rows), _not_renewed(connection)
                ),
            )

    def _new_subscriptions(self, connection: Connection) -> list[Subscription]:
        moment = self._clock()
        return [
            connection.subscription(channel_id, shard=shard, state="live", live_since=moment)
            for channel_id, shard in sorted(map(keys.channel_and_shard, connection.partitions))
        ]

    def _write_subscriptions(self, rows: Iterable[Subscription], holder: Write) -> None:
        writes = [holder]
        for row in rows:
            writes.append(PutWrite(Table.CONNECTIONS, row.to_item()))
            writes += may_subscribe(row)
        try:
            self.repository.transact(writes)
        except TransactionCanceledError:
            raise ChannelNotFoundError from None

    def _places(self, connection_id: str, channels: Sequence[str]) -> frozenset[str]:
        shards = self.shards_for(channels, connection_id)
        return frozenset(
            keys.subscription_partition(channel_id, shard) for channel_id, shard in shards.items()
        )

    def _erase(self, connection: Connection) -> None:
        """The connection's own row goes last: until then this can be done again.

        It is ended first: nothing is added to a connection that has another end than it had when
        it was read, so that its row names every subscription there is.
        """
        key = keys.connection_key(connection.connection_id)
        try:
            ended = self.repository.update(
                Table.CONNECTIONS, key, Update(set={"expires_at": ENDED}), condition=IS_THERE
            )
        except ConditionFailedError:
            pass
        else:
            added = Connection.model_validate(ended).partitions
            connection = connection.model_copy(update={"partitions": connection.partitions | added})
        rows = connection.subscription_keys()
        rows.append(keys.user_connection_key(connection.user_id, connection.connection_id))
        self.repository.batch_delete(Table.CONNECTIONS, rows)
        self.repository.delete(Table.CONNECTIONS, key)


def connection_expiry(caller: Caller, connected_at: int) -> int:
    return min(caller.expires_at, connected_at // 1000 + CONNECTION_SECONDS)


def _not_renewed(connection: Connection) -> Condition:
    """It has the end that it had: neither another token, nor is it being erased."""
    return Compare("expires_at", "=", connection.expires_at)
