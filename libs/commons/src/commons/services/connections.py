"""Open connections, and the channels they are subscribed to."""

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
    ConditionCheck,
    DeleteWrite,
    Exists,
    IRepository,
    Item,
    Key,
    NotExists,
    PutWrite,
    Query,
    SortPrefix,
    Table,
    Update,
    UpdateWrite,
    Write,
    all_of,
    any_of,
)
from commons.dynamodb.exceptions import ConditionFailedError, TransactionCanceledError
from commons.errors import (
    ChannelNotFoundError,
    ConflictError,
    InvalidRequestError,
    TooManyRequestsError,
    UnauthenticatedError,
)
from commons.records.connection import (
    MAX_CHANNELS,
    Connection,
    Subscription,
    SubscriptionState,
    UserConnection,
)
from commons.schemas.caller import Caller
from commons.services.base import BaseService

CONNECTION_SECONDS: Final = 3 * 3_600
"""API Gateway ends a connection after 2 h; past 3 h a row is of one that nobody saw ending."""

MAX_CONNECTIONS: Final = 200
"""A user's open connections."""

HANDSHAKE_MILLISECONDS: Final = 10_000
"""While its handshake runs the gateway calls a connection gone."""

REPLAY_MILLISECONDS: Final = 30_000
"""API Gateway gives a route 29 s: a replay that began longer ago is dead."""

_PROBES_AT_ONCE: Final = 16
_AT_ONCE: Final = 33
"""Subscriptions in a transaction of 100 writes: three for each, and one for the connection."""

_TRIES: Final = 4
_ENDED: Final = 0
"""The `expires_at` of a connection that is being erased."""

_IS_THERE: Final = Exists("channel_id")
_IS_FREE: Final = NotExists("channel_id")
_IS_NOT_DELETED: Final = any_of(NotExists("deleted"), Compare("deleted", "=", False))


class IConnectionProbe(Protocol):
    """Whoever holds the open sockets; threads may share it."""

    def is_open(self, connection_id: str) -> bool:
        """False for a connection that was closed, and for one whose handshake still runs."""
        ...


class ConnectionEndedError(UnauthenticatedError):
    """The connection is known no more: it was closed, or what opened it has expired."""

    def __init__(self) -> None:
        super().__init__("This connection has ended: open a new one.")


class ConnectionsService(BaseService):
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
        super().__init__(repository)
        self._probe = probe
        self._clock = clock

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
        connection = Connection(
            connection_id=connection_id,
            user_id=caller.user_id,
            name=caller.name,
            token_expires_at=caller.expires_at,
            expires_at=connection_expiry(caller, connected_at),
            connected_at=connected_at,
            channels=frozenset(channels),
        )
        if connection.expires_at <= self._seconds():
            raise UnauthenticatedError("The token has expired.")
        if len(connection.channels) > MAX_CHANNELS:
            raise InvalidRequestError.of("channels", f"at most {MAX_CHANNELS}")
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

    def subscribe(
        self, connection: Connection, channel_id: str, *, state: SubscriptionState = "live"
    ) -> Subscription:
        """Subscribes, unless that is so already; a member removed meanwhile is refused.

        `live` changes nothing about a subscription that is live, or that a replay is about to turn
        live. `replaying` begins anew.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
            ConflictError: the connection is subscribed to 50 others.
            ConnectionEndedError: it was forgotten meanwhile.
        """
        moment = self._clock()
        known = channel_id in connection.channels
        replaces = state == "replaying"
        for _ in range(_TRIES):
            subscription = connection.subscription(
                channel_id,
                state=state,
                live_since=moment if state == "live" else None,
                replaying_since=moment if state == "replaying" else None,
            )
            writes = _subscribing(subscription, known=known, replaces=replaces)
            try:
                self.repository.transact(writes)
            except TransactionCanceledError as error:
                holder, row, *rights = error.reasons
                if any(right.condition_failed for right in rights):
                    raise ChannelNotFoundError from None
                renewed = holder.condition_failed and _was_renewed(connection, holder.item)
                if renewed:
                    connection = Connection.model_validate(holder.item)
                if row.condition_failed:
                    replaces = replaces or (known and row.item is not None)
                    known = row.item is not None
                elif not renewed:
                    raise ConflictError(
                        f"A connection is subscribed to {MAX_CHANNELS} channels at most."
                    ) from None
                continue
            return subscription
        raise ConflictError("The subscription is being changed by others: try again.")

    def go_live(self, subscription: Subscription, *, live_after: int) -> None:
        """Ends `replaying`: events past `live_after` are delivered from here on.

        Where another replay of the same subscription has begun since, that one ends it.

        Raises:
            ChannelNotFoundError: the subscription was removed meanwhile.
        """
        live = {"state": "live", "live_after": live_after, "live_since": self._clock()}
        try:
            self.repository.update(
                Table.CONNECTIONS,
                _key(subscription),
                Update(set=live, remove=["replaying_since"]),
                condition=_is_same(subscription),
            )
        except ConditionFailedError as error:
            if error.item is None:
                raise ChannelNotFoundError from None

    def unsubscribe(self, connection: Connection, channel_id: str) -> None:
        """Ends the subscription that is there now; none there is no error."""
        key = keys.subscription_key(channel_id, connection.user_id, connection.connection_id)
        item = self.repository.find(Table.CONNECTIONS, key, consistent=True)
        if item is not None:
            self.end([Subscription.model_validate(item)])

    def subscriptions(
        self,
        channel_id: str,
        *,
        include_replaying: bool = False,
        include_expired: bool = False,
    ) -> list[Subscription]:
        """The channel's subscriptions: one consistent query, one call a MB (some 3,000 rows)."""
        query = Query(table=Table.CONNECTIONS, partition=channel_id, consistent=True)
        moment = self._seconds()
        rows = map(Subscription.model_validate, self.repository.iterate(query))
        return [
            row
            for row in rows
            if (include_replaying or row.state == "live")
            and (include_expired or row.expires_at > moment)
        ]

    def still_live(self, subscriptions: Sequence[Subscription]) -> frozenset[str]:
        """The connections of those that are the same live subscription by now: one call a hundred."""
        moment = self._seconds()
        known = {each.connection_id: each.live_since for each in subscriptions}
        items = self.repository.batch_get(
            Table.CONNECTIONS, [_key(each) for each in subscriptions], consistent=True
        )
        return frozenset(
            row.connection_id
            for row in map(Subscription.model_validate, items)
            if row.state == "live"
            and row.expires_at > moment
            and row.live_since == known[row.connection_id]
        )

    def forget(self, connection_id: str) -> None:
        """Removes all that is known of a connection; nothing known is no error."""
        item = self.repository.find(
            Table.CONNECTIONS, keys.connection_key(connection_id), consistent=True
        )
        if item is not None:
            self._erase(Connection.model_validate(item))

    def connections_of(self, channel_id: str, user_id: str) -> frozenset[str]:
        """Those of the user's connections that have a subscription to the channel."""
        rows = self._rows(channel_id, SortPrefix(keys.subscription_prefix(user_id)))
        return frozenset(row.connection_id for row in rows)

    def remove_user(self, channel_id: str, user_id: str) -> list[str]:
        """Ends the user's subscriptions to the channel, unless the user is a member again.

        Call it once the member row is gone: a subscription that races is either refused by that
        or seen here. Membership is read after the subscriptions, so that none of a user who is
        back is ended.

        Returns:
            The connections whose subscription this call removed: of several calls that race, one
            is told of each.
        """
        rows = self._rows(channel_id, SortPrefix(keys.subscription_prefix(user_id)))
        member = keys.member_key(channel_id, user_id)
        if not rows or self.repository.find(Table.CHANNELS, member, consistent=True) is not None:
            return []
        return [row.connection_id for row in self.end(rows)]

    def remove_channel(self, channel_id: str) -> list[str]:
        """Ends every subscription to the channel, once it is marked as deleted.

        Returns:
            As `remove_user`.
        """
        return [row.connection_id for row in self.end(self._rows(channel_id, None))]

    def end(self, rows: Sequence[Subscription]) -> list[Subscription]:
        """Ends these very subscriptions, and none that has begun in their place since.

        Returns:
            Those that this call ended.
        """
        ended: list[Subscription] = []
        for some in batched(rows, _AT_ONCE):
            writes = [write for row in some for write in _unsubscribing(row)]
            try:
                self.repository.transact(writes)
            except TransactionCanceledError:
                ended += [row for row in some if self._end_one(row)]
            else:
                ended += some
        return ended

    def _seconds(self) -> int:
        return self._clock() // 1000

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
        connected_before = self._clock() - HANDSHAKE_MILLISECONDS
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
            **connection.model_dump(exclude_none=True, exclude={"channels"}),
            **keys.connection_key(connection.connection_id),
            "channel_count": 0,
            "ttl": connection.expires_at,
        }
        first, *rest = list(batched(sorted(connection.channels), _AT_ONCE)) or [()]
        if first:
            new |= {"channels": frozenset(first), "channel_count": len(first)}
        self._write_subscriptions(connection, first, PutWrite(Table.CONNECTIONS, new))
        for channels in rest:
            added = Update(add={"channel_count": len(channels)}, add_to_set=_channels(*channels))
            self._write_subscriptions(
                connection,
                channels,
                _update_connection(connection.connection_id, added, _not_renewed(connection)),
            )

    def _write_subscriptions(
        self, connection: Connection, channels: Iterable[str], holder: Write
    ) -> None:
        moment = self._clock()
        writes = [holder]
        for channel_id in channels:
            row = connection.subscription(channel_id, state="live", live_since=moment)
            writes.append(PutWrite(Table.CONNECTIONS, row.to_item()))
            writes += _may_subscribe(row)
        try:
            self.repository.transact(writes)
        except TransactionCanceledError:
            raise ChannelNotFoundError from None

    def _erase(self, connection: Connection) -> None:
        """The connection's own row goes last: until then this can be done again.

        It is ended first: nothing is added to a connection that has another end than it had when
        it was read, so that its row names every subscription there is.
        """
        key = keys.connection_key(connection.connection_id)
        channels = connection.channels
        try:
            ended = self.repository.update(
                Table.CONNECTIONS, key, Update(set={"expires_at": _ENDED}), condition=_IS_THERE
            )
        except ConditionFailedError:
            pass
        else:
            channels |= Connection.model_validate(ended).channels
        rows = [
            keys.subscription_key(channel_id, connection.user_id, connection.connection_id)
            for channel_id in channels
        ]
        rows.append(keys.user_connection_key(connection.user_id, connection.connection_id))
        self.repository.batch_delete(Table.CONNECTIONS, rows)
        self.repository.delete(Table.CONNECTIONS, key)

    def _rows(self, channel_id: str, sort: SortPrefix | None) -> list[Subscription]:
        query = Query(table=Table.CONNECTIONS, partition=channel_id, sort=sort, consistent=True)
        return list(map(Subscription.model_validate, self.repository.iterate(query)))

    def _end_one(self, row: Subscription) -> bool:
        """False where it has ended already."""
        try:
            self.repository.transact(_unsubscribing(row))
        except TransactionCanceledError as error:
            ended_already, _ = (reason.condition_failed for reason in error.reasons)
            return not ended_already and self._end_orphan(row)
        return True

    def _end_orphan(self, row: Subscription) -> bool:
        """A subscription whose connection is forgotten; False where it has ended already."""
        try:
            self.repository.delete(Table.CONNECTIONS, _key(row), condition=_is_same(row))
        except ConditionFailedError:
            return False
        return True


def connection_expiry(caller: Caller, connected_at: int) -> int:
    return min(caller.expires_at, connected_at // 1000 + CONNECTION_SECONDS)


def _channels(*channels: str) -> dict[str, frozenset[str]]:
    return {"channels": frozenset(channels)}


def _key(row: Subscription) -> Key:
    return keys.subscription_key(row.channel_id, row.user_id, row.connection_id)


def _is_same(row: Subscription) -> Condition:
    """The row is there, and no other subscription has begun in it."""
    if row.subscription_id is None:
        return all_of(_IS_THERE, NotExists("subscription_id"))
    return Compare("subscription_id", "=", row.subscription_id)


def _update_connection(
    connection_id: str, update: Update, condition: Condition = _IS_THERE
) -> Write:
    return UpdateWrite(Table.CONNECTIONS, keys.connection_key(connection_id), update, condition)


def _not_renewed(connection: Connection) -> Condition:
    """It has the end that it had: neither another token, nor is it being erased."""
    return Compare("expires_at", "=", connection.expires_at)


def _may_subscribe(row: Subscription) -> list[Write]:
    """The user is a member and the channel not deleted: its member rows outlive it for a while."""
    return [
        ConditionCheck(Table.CHANNELS, keys.member_key(row.channel_id, row.user_id), Exists("pk")),
        ConditionCheck(Table.CHANNELS, keys.channel_key(row.channel_id), _IS_NOT_DELETED),
    ]


def _was_renewed(connection: Connection, item: Item | None) -> bool:
    """Whether the connection's row has another end than the connection as it was read.

    Raises:
        ConnectionEndedError: there is no row, or it is being erased.
    """
    if item is None:
        raise ConnectionEndedError
    expires_at = Connection.model_validate(item).expires_at
    if expires_at == _ENDED:
        raise ConnectionEndedError
    return expires_at != connection.expires_at


def _subscribing(row: Subscription, *, known: bool, replaces: bool) -> list[Write]:
    """The connection, the subscription, the rights: in this order.

    The row ends when the connection does: where that has another end by now, nothing is written.
    """
    unchanged = Compare("expires_at", "=", row.expires_at)
    holder: Write
    subscription: Write
    if known:
        holder = ConditionCheck(
            Table.CONNECTIONS, keys.connection_key(row.connection_id), unchanged
        )
        subscription = (
            PutWrite(Table.CONNECTIONS, row.to_item(), _IS_THERE)
            if replaces
            else ConditionCheck(Table.CONNECTIONS, _key(row), _is_served(row))
        )
    else:
        holder = _update_connection(
            row.connection_id,
            Update(add={"channel_count": 1}, add_to_set=_channels(row.channel_id)),
            all_of(unchanged, Compare("channel_count", "<", MAX_CHANNELS)),
        )
        subscription = PutWrite(Table.CONNECTIONS, row.to_item(), _IS_FREE)
    return [holder, subscription, *_may_subscribe(row)]


def _is_served(row: Subscription) -> Condition:
    """It is live, or a replay that still runs will turn it live."""
    bound = (row.live_since or 0) - REPLAY_MILLISECONDS
    return any_of(Compare("state", "=", "live"), Compare("replaying_since", ">", bound))


def _unsubscribing(row: Subscription) -> list[Write]:
    """The subscription, the connection: in this order."""
    removed = Update(add={"channel_count": -1}, remove_from_set=_channels(row.channel_id))
    return [
        DeleteWrite(Table.CONNECTIONS, _key(row), _is_same(row)),
        _update_connection(row.connection_id, removed),
    ]
