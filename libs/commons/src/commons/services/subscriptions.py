"""What connections are subscribed to: how it begins, is replayed, and ends."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import batched
from typing import Final

from commons import keys
from commons.bounded_memory import BoundedMemory
from commons.dal import (
    Item,
    Table,
    Update,
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
from commons.services.rooms import RoomsService
from commons.services.subscription_writes import (
    is_same,
    is_unchanged,
    subscribing,
    unsubscribing,
)

AT_ONCE: Final = 33
"""Subscriptions in a transaction of 100 writes: three for each, and one for the connection."""

ENDED: Final = 0
"""The `expires_at` of a connection that is being erased."""

_TRIES: Final = 4
_SHARDS_MEMORY: Final = 10_000
_SHARDS_MILLISECONDS: Final = 10_000


class ConnectionEndedError(UnauthenticatedError):
    """The connection is known no more: it was closed, or what opened it has expired."""

    def __init__(self) -> None:
        super().__init__("This connection has ended: open a new one.")


class SubscriptionsService(RoomsService):
    """Begins, replays and ends subscriptions."""

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
            writes = subscribing(subscription, known=known is not None, replaces=replaces)
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
                condition=is_same(subscription),
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
                condition=is_unchanged(subscription),
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
                condition=is_unchanged(subscription),
            )
        except ConditionFailedError:
            return None
        return Subscription.model_validate(item)

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
            writes = [write for row in some for write in unsubscribing(row)]
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
            self.repository.transact(unsubscribing(row))
        except TransactionCanceledError as error:
            ended_already, _ = (reason.condition_failed for reason in error.reasons)
            return not ended_already and self._end_orphan(row)
        return True

    def _end_orphan(self, row: Subscription) -> bool:
        """A subscription whose connection is forgotten; False where it has ended already."""
        try:
            self.repository.delete(Table.CONNECTIONS, row.key, condition=is_same(row))
        except ConditionFailedError:
            return False
        return True

    @cached_property
    def _shards(self) -> BoundedMemory[str, tuple[int, int]]:
        """Over how many shards a room was spread, and when that was read: epoch milliseconds."""
        return BoundedMemory(_SHARDS_MEMORY)


def _state_after(there: Subscription) -> tuple[SubscriptionState, int | None]:
    """What a plain `subscribe` begins in place of a replay; an older release's says no number."""
    return ("live", None) if there.live_after is None else ("replaying", there.live_after)


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
