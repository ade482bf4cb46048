"""What is written about subscriptions, and the conditions that those writes hold to."""

from collections.abc import Iterable, Sequence
from typing import Final

from commons import keys
from commons.dal import (
    Compare,
    Condition,
    ConditionCheck,
    DeleteWrite,
    Exists,
    NotExists,
    PutWrite,
    Table,
    Update,
    UpdateWrite,
    Write,
    all_of,
    any_of,
)
from commons.records.connection import MAX_CHANNELS, Subscription

IS_THERE: Final = Exists("channel_id")
IS_FREE: Final = NotExists("channel_id")

_IS_NOT_DELETED: Final = any_of(NotExists("deleted"), Compare("deleted", "=", False))


def is_same(row: Subscription) -> Condition:
    """The row is there, and no other subscription has begun in it."""
    if row.subscription_id is None:
        return all_of(IS_THERE, NotExists("subscription_id"))
    return Compare("subscription_id", "=", row.subscription_id)


def is_unchanged(row: Subscription) -> Condition:
    """As `is_same`, and it is neither put back nor live again since it was read."""
    since = (
        Compare("replaying_since", "=", row.replaying_since)
        if row.replaying_since is not None
        else Compare("state", "=", row.state)
    )
    if row.live_since is not None:
        return all_of(is_same(row), since, Compare("live_since", "=", row.live_since))
    return all_of(is_same(row), since)


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


def subscribing(row: Subscription, *, known: bool, replaces: bool) -> list[Write]:
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
        subscription = PutWrite(Table.CONNECTIONS, row.to_item(), IS_FREE)
    return [holder, subscription, *may_subscribe(row)]


def unsubscribing(row: Subscription) -> list[Write]:
    """The subscription, the connection: in this order."""
    removed = Update(add={"channel_count": -1}, remove_from_set={"channels": _partitions([row])})
    return [
        DeleteWrite(Table.CONNECTIONS, row.key, is_same(row)),
        update_connection(row.connection_id, removed),
    ]
