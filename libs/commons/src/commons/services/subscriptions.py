"""What connections are subscribed to: how it begins, is replayed, and ends."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from heapq import merge
from itertools import batched, chain
from typing import Final

from commons import keys
from commons.bounded_memory import BoundedMemory
from commons.clock import epoch_milliseconds
from commons.dal import (
    Compare,
    Condition,
    ConditionCheck,
    DeleteWrite,
    Exists,
    IRepository,
    Item,
    NotExists,
    PutWrite,
    Query,
    SortBetween,
    SortPrefix,
    Table,
    Update,
    UpdateWrite,
    Write,
    all_of,
    any_of,
)
from commons.dynamodb.exceptions import ConditionFailedError, TransactionCanceledError
from commons.errors import ChannelNotFoundError, ConflictError, UnauthenticatedError
from commons.records.connection import (
    MAX_CHANNELS,
    Connection,
    RoomShards,
    Subscription,
    SubscriptionState,
)
from commons.services.base import BaseService

AT_ONCE: Final = 33
"""Subscriptions in a transaction of 100 writes: three for each, and one for the connection."""

ENDED: Final = 0
"""The `expires_at` of a connection that is being erased."""

IS_THERE: Final = Exists("channel_id")

_ATTRIBUTES: Final = (
    "channel_id",
    "connection_id",
    "user_id",
    "subscription_id",
    "state",
    "expires_at",
    "connected_at",
    "live_after",
    "live_since",
    "replaying_since",
    "shards",
)
"""What is read of a room: less to parse, which is most of what reading 10,000 rows takes."""

_TRIES: Final = 4
_SHARDS_AT_ONCE: Final = 16
_SHARDS_MEMORY: Final = 10_000
_SHARDS_MILLISECONDS: Final = 10_000
_IS_FREE: Final = NotExists("channel_id")
_IS_NOT_DELETED: Final = any_of(NotExists("deleted"), Compare("deleted", "=", False))


class ConnectionEndedError(UnauthenticatedError):
    """The connection is known no more: it was closed, or what opened it has expired."""

    def __init__(self) -> None:
        super().__init__("This connection has ended: open a new one.")


class SubscriptionsService(BaseService):
    """Subscriptions, wherever a room's shards have them.

    Args:
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository)
        self._clock = clock
        self._shards: BoundedMemory[str, tuple[int, int]] = BoundedMemory(_SHARDS_MEMORY)

    # -- how it begins

    def subscribe(
        self,
        connection: Connection,
        channel_id: str,
        *,
        state: SubscriptionState = "live",
        after: int | None = None,
    ) -> Subscription:
        """Subscribes, unless that is so already; a member removed meanwhile is refused.

        `live` changes nothing about a subscription that is live. One that is replaying begins to
        replay anew, from where it had begun, and is returned: it is the caller's to bring up,
        because nobody knows whether whoever began it lives. `replaying` always begins anew.

        Args:
            connection: as it was read; what has changed of it since is read again.
            channel_id: of a channel that the connection's user is a member of.
            state: what it begins in.
            after: with `replaying`: the last event that the connection holds.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
            ConflictError: the connection is subscribed to 50 others.
            ConnectionEndedError: it was forgotten meanwhile.
        """
        known = connection.shard_of(channel_id)
        replaces = state == "replaying"
        for _ in range(_TRIES):
            shard = known if known is not None else self._shard(channel_id, connection)
            subscription = self._beginning(connection, channel_id, shard, state, after)
            writes = _subscribing(subscription, known=known is not None, replaces=replaces)
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
                    there = None if row.item is None else Subscription.model_validate(row.item)
                    known = None if there is None else there.shard
                    if there is not None and state == "live" and there.state == "replaying":
                        state, after = _state_after(there)
                        replaces = True
                elif not renewed:
                    raise ConflictError(
                        f"A connection is subscribed to {MAX_CHANNELS} channels at most."
                    ) from None
                continue
            return subscription
        raise ConflictError("The subscription is being changed by others: try again.")

    def _beginning(
        self,
        connection: Connection,
        channel_id: str,
        shard: int,
        state: SubscriptionState,
        after: int | None,
    ) -> Subscription:
        moment = self._clock()
        return connection.subscription(
            channel_id,
            shard=shard,
            state=state,
            live_after=after,
            live_since=moment if state == "live" else None,
            replaying_since=moment if state == "replaying" else None,
        )

    def _shard(self, channel_id: str, connection: Connection) -> int:
        return self.shards_for([channel_id], connection.connection_id)[channel_id]

    def shards_for(self, channel_ids: Iterable[str], connection_id: str) -> dict[str, int]:
        """Where subscriptions of the connection that begin now are put.

        How far a room has grown is remembered for 10 s: rooms never shrink, and readers look
        into every shard there is, so that an older figure is right as well.
        """
        moment = self._clock()
        wanted = frozenset(channel_ids)
        shards: dict[str, int] = {}
        for channel_id in wanted:
            remembered = self._shards.get(channel_id)
            if remembered is not None and moment - remembered[1] < _SHARDS_MILLISECONDS:
                shards[channel_id] = remembered[0]
        unknown = [channel_id for channel_id in wanted if channel_id not in shards]
        rows = self.repository.batch_get(Table.CONNECTIONS, list(map(keys.shards_key, unknown)))
        grown = {str(row["channel_id"]): RoomShards.model_validate(row).shards for row in rows}
        for channel_id in unknown:
            shards[channel_id] = grown.get(channel_id, 1)
            self._shards.set(channel_id, (shards[channel_id], moment))
        return {
            channel_id: keys.subscription_shard(connection_id, count)
            for channel_id, count in shards.items()
        }

    # -- replaying, and back

    def go_live(self, subscription: Subscription, *, live_after: int) -> Subscription | None:
        """Ends `replaying`: events past `live_after` are delivered from here on.

        Returns:
            The subscription as it is then; None where another has begun in its place, which goes
            live by itself.

        Raises:
            ChannelNotFoundError: the subscription was removed meanwhile.
        """
        live = {"state": "live", "live_after": live_after, "live_since": self._clock()}
        try:
            item = self.repository.update(
                Table.CONNECTIONS,
                subscription.key,
                Update(set=live, remove=["replaying_since"]),
                condition=_is_same(subscription),
            )
        except ConditionFailedError as error:
            if error.item is None:
                raise ChannelNotFoundError from None
            return None
        return Subscription.model_validate(item)

    def settle(self, subscription: Subscription) -> None:
        """Its replay's tail has arrived: what is new is all that it is due from here on.

        Not where it was put back or has begun anew since.
        """
        try:
            self.repository.update(
                Table.CONNECTIONS,
                subscription.key,
                Update(remove=["live_after"]),
                condition=_is_unchanged(subscription),
            )
        except ConditionFailedError:
            return

    def replay_from(self, subscription: Subscription, after: int) -> Subscription | None:
        """Puts it back to `replaying`, or begins its replay anew: delivery passes it over.

        Returns:
            The subscription as it is then; None where it is not as it was read any more.
        """
        moment = self._clock()
        try:
            item = self.repository.update(
                Table.CONNECTIONS,
                subscription.key,
                Update(
                    set={"state": "replaying", "replaying_since": moment, "live_after": after},
                    remove=["live_since"],
                ),
                condition=_is_unchanged(subscription),
            )
        except ConditionFailedError:
            return None
        return Subscription.model_validate(item)

    def find_subscription(
        self, channel_id: str, user_id: str, connection_id: str, shard: int
    ) -> Subscription | None:
        """One consistent read."""
        key = keys.subscription_key(channel_id, user_id, connection_id, shard)
        item = self.repository.find(Table.CONNECTIONS, key, consistent=True)
        return None if item is None else Subscription.model_validate(item)

    # -- who listens

    def subscriptions(
        self,
        channel_id: str,
        *,
        include_replaying: bool = False,
        include_expired: bool = False,
    ) -> list[Subscription]:
        """The room's subscriptions: one consistent query a shard, one call a MB (some 3,000 rows)."""
        moment = self._seconds()
        return [
            row
            for row in self.room(channel_id)
            if (include_replaying or row.state == "live")
            and (include_expired or row.expires_at > moment)
        ]

    def room(self, channel_id: str) -> list[Subscription]:
        """Every subscription there is, whatever its state."""
        rows = self._rows(channel_id)
        first = next(rows, None)
        if not isinstance(first, RoomShards):
            return _subscriptions([] if first is None else [first], rows)
        others = [
            self._threads.submit(self.shard, channel_id, shard) for shard in range(1, first.shards)
        ]
        found = _subscriptions(rows)
        for each in others:
            found += each.result()
        return found

    def shard(self, channel_id: str, shard: int) -> list[Subscription]:
        """Those of the room's subscriptions that are in one shard."""
        return _subscriptions(self._rows(channel_id, shard))

    def first_of_room(self, channel_id: str, limit: int) -> tuple[list[Subscription], bool]:
        """Up to `limit` subscriptions, by one call, and whether those are all there are."""
        found, shards = self._first_page(channel_id, limit)
        return found[:limit], shards == 0

    def small_room(self, channel_id: str, limit: int) -> tuple[list[Subscription], int]:
        """The room's subscriptions, by one call, where there are no more than `limit` of them.

        Returns:
            They, and 0; of a room that is fuller none, and over how many shards it is spread.
        """
        found, shards = self._first_page(channel_id, limit)
        return ([], shards) if shards else (found, 0)

    def _first_page(self, channel_id: str, limit: int) -> tuple[list[Subscription], int]:
        """Subscriptions of the first shard, and 0 where those are all, else the number of shards."""
        page = self.repository.query(_query(channel_id, limit=limit + 1))
        rows = list(map(_row, page.items))
        shards = next((row.shards for row in rows if isinstance(row, RoomShards)), 1)
        found = _subscriptions(rows)
        are_all = shards == 1 and len(found) <= limit and page.last_key is None
        return found, 0 if are_all else shards

    def walk(
        self, channel_id: str, *, page: int, past_user: str | None = None
    ) -> Iterator[Subscription]:
        """The room's subscriptions by user id, read `page` rows at a time as they are consumed."""
        low = None if past_user is None else keys.past_user(past_user)
        first_shard = self._rows(channel_id, limit=page, low=low)
        first = next(first_shard, None)
        if past_user is None:
            count = first.shards if isinstance(first, RoomShards) else 1
        else:
            count = self.shards_of(channel_id)
        shards = [
            chain(() if first is None else (first,), first_shard),
            *(self._rows(channel_id, shard, limit=page, low=low) for shard in range(1, count)),
        ]
        yield from merge(*map(_only_subscriptions, shards), key=lambda row: row.user_id)

    def shards_of(self, channel_id: str) -> int:
        """Over how many shards the room is spread; one consistent read."""
        key = keys.shards_key(channel_id)
        item = self.repository.find(Table.CONNECTIONS, key, consistent=True)
        return 1 if item is None else RoomShards.model_validate(item).shards

    def grow(self, channel_id: str, *, shards: int, to: int) -> int:
        """Spreads the room over `to` shards, where it is spread over `shards` now.

        Returns:
            Over how many it is spread then.
        """
        is_as_known = Compare("shards", "=", shards) if shards > 1 else _IS_FREE
        try:
            self.repository.put(
                Table.CONNECTIONS, RoomShards(shards=to).to_item(channel_id), condition=is_as_known
            )
        except ConditionFailedError as error:
            return 1 if error.item is None else RoomShards.model_validate(error.item).shards
        return to

    def of_user(self, channel_id: str, user_id: str) -> list[Subscription]:
        """The user's subscriptions to the channel."""
        prefix = SortPrefix(keys.subscription_prefix(user_id))
        shards = self.shards_of(channel_id)
        if shards == 1:
            return _subscriptions(self._rows(channel_id, sort=prefix))
        return [
            row
            for rows in self._threads.map(
                lambda shard: _subscriptions(self._rows(channel_id, shard, sort=prefix)),
                range(shards),
            )
            for row in rows
        ]

    def connections_of(self, channel_id: str, user_id: str) -> frozenset[str]:
        """Those of the user's connections that have a subscription to the channel."""
        return frozenset(row.connection_id for row in self.of_user(channel_id, user_id))

    def still_live(self, subscriptions: Sequence[Subscription]) -> frozenset[str]:
        """The connections of those that are the same live subscription by now: one call a hundred."""
        moment = self._seconds()
        known = {each.connection_id: each.live_since for each in subscriptions}
        items = self.repository.batch_get(
            Table.CONNECTIONS, [each.key for each in subscriptions], consistent=True
        )
        return frozenset(
            row.connection_id
            for row in map(Subscription.model_validate, items)
            if row.state == "live"
            and row.expires_at > moment
            and row.live_since == known[row.connection_id]
        )

    # -- how it ends

    def unsubscribe(self, connection: Connection, channel_id: str) -> None:
        """Ends the subscription that is there now; none there is no error."""
        shard = connection.shard_of(channel_id)
        row = self.find_subscription(
            channel_id, connection.user_id, connection.connection_id, shard or 0
        )
        if row is not None:
            self.end([row])

    def end(self, rows: Sequence[Subscription]) -> list[Subscription]:
        """Ends these very subscriptions, and none that has begun in their place since.

        Returns:
            Those that this call ended.
        """
        ended: list[Subscription] = []
        for some in batched(rows, AT_ONCE):
            writes = [write for row in some for write in _unsubscribing(row)]
            try:
                self.repository.transact(writes)
            except TransactionCanceledError:
                ended += [row for row in some if self._end_one(row)]
            else:
                ended += some
        return ended

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
            self.repository.delete(Table.CONNECTIONS, row.key, condition=_is_same(row))
        except ConditionFailedError:
            return False
        return True

    def _rows(
        self,
        channel_id: str,
        shard: int = 0,
        *,
        sort: SortPrefix | None = None,
        low: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Subscription | RoomShards]:
        query = _query(channel_id, shard, sort=sort, low=low, limit=limit)
        return map(_row, self.repository.iterate(query))

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_SHARDS_AT_ONCE, thread_name_prefix="shard")

    def _seconds(self) -> int:
        return self._clock() // 1000


def _query(
    channel_id: str,
    shard: int = 0,
    *,
    sort: SortPrefix | None = None,
    low: str | None = None,
    limit: int | None = None,
) -> Query:
    return Query(
        table=Table.CONNECTIONS,
        partition=keys.subscription_partition(channel_id, shard),
        sort=sort if low is None else SortBetween(low=low),
        consistent=True,
        limit=limit,
        attributes=_ATTRIBUTES,
    )


def _row(item: Item) -> Subscription | RoomShards:
    model = RoomShards if "shards" in item else Subscription
    return model.model_validate(item)


def _only_subscriptions(rows: Iterable[Subscription | RoomShards]) -> Iterator[Subscription]:
    return (row for row in rows if isinstance(row, Subscription))


def _subscriptions(*rows: Iterable[Subscription | RoomShards]) -> list[Subscription]:
    return [row for some in rows for row in _only_subscriptions(some)]


def _state_after(there: Subscription) -> tuple[SubscriptionState, int | None]:
    """What a plain `subscribe` begins in place of a replay; an older release's says no number."""
    return ("live", None) if there.live_after is None else ("replaying", there.live_after)


def _is_same(row: Subscription) -> Condition:
    """The row is there, and no other subscription has begun in it."""
    if row.subscription_id is None:
        return all_of(IS_THERE, NotExists("subscription_id"))
    return Compare("subscription_id", "=", row.subscription_id)


def _is_unchanged(row: Subscription) -> Condition:
    """As `_is_same`, and it is neither put back nor live again since it was read."""
    since = (
        Compare("replaying_since", "=", row.replaying_since)
        if row.replaying_since is not None
        else Compare("state", "=", row.state)
    )
    if row.live_since is not None:
        return all_of(_is_same(row), since, Compare("live_since", "=", row.live_since))
    return all_of(_is_same(row), since)


def may_subscribe(row: Subscription) -> list[Write]:
    """The user is a member and the channel not deleted: its member rows outlive it for a while."""
    return [
        ConditionCheck(Table.CHANNELS, keys.member_key(row.channel_id, row.user_id), Exists("pk")),
        ConditionCheck(Table.CHANNELS, keys.channel_key(row.channel_id), _IS_NOT_DELETED),
    ]


def add_partitions(rows: Sequence[Subscription]) -> Update:
    """What the connection's row says of its subscriptions."""
    return Update(add={"channel_count": len(rows)}, add_to_set={"channels": _partitions(rows)})


def _partitions(rows: Iterable[Subscription]) -> frozenset[str]:
    return frozenset(keys.subscription_partition(row.channel_id, row.shard) for row in rows)


def update_connection(
    connection_id: str, update: Update, condition: Condition = IS_THERE
) -> UpdateWrite:
    return UpdateWrite(Table.CONNECTIONS, keys.connection_key(connection_id), update, condition)


def _was_renewed(connection: Connection, item: Item | None) -> bool:
    """Whether the connection's row has another end than the connection as it was read.

    Raises:
        ConnectionEndedError: there is no row, or it is being erased.
    """
    if item is None:
        raise ConnectionEndedError
    expires_at = Connection.model_validate(item).expires_at
    if expires_at == ENDED:
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
            PutWrite(Table.CONNECTIONS, row.to_item(), IS_THERE)
            if replaces
            else ConditionCheck(Table.CONNECTIONS, row.key, Compare("state", "=", "live"))
        )
    else:
        has_room = Compare("channel_count", "<", MAX_CHANNELS)
        holder = update_connection(
            row.connection_id, add_partitions([row]), all_of(unchanged, has_room)
        )
        subscription = PutWrite(Table.CONNECTIONS, row.to_item(), _IS_FREE)
    return [holder, subscription, *may_subscribe(row)]


def _unsubscribing(row: Subscription) -> list[Write]:
    """The subscription, the connection: in this order."""
    removed = Update(add={"channel_count": -1}, remove_from_set={"channels": _partitions([row])})
    return [
        DeleteWrite(Table.CONNECTIONS, row.key, _is_same(row)),
        update_connection(row.connection_id, removed),
    ]
