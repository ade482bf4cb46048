"""What every repository refuses before it does anything: mistakes of the code that calls it."""

import dataclasses
from collections.abc import Mapping, Sequence

from commons.dal.interface import (
    INDEX_KEYS,
    TABLE_KEYS,
    Key,
    PutWrite,
    Query,
    SortBetween,
    Table,
    TableKey,
    Update,
    UpdateWrite,
    Write,
)
from commons.dal.write_ids import WRITE_IDS

MAX_TRANSACTION_WRITES = 100

type KeyValues = tuple[str, str | int]

_SORT_TYPES: Mapping[Table, type[str] | type[int]] = {
    Table.CHAT_EVENTS: int,
    Table.CHANNELS: str,
    Table.CONNECTIONS: str,
}


def key_values(table: Table, key: Mapping[str, object]) -> KeyValues:
    """The partition and sort value of a key.

    Raises:
        ValueError: the key does not name exactly the table's key attributes.
    """
    if len(key) != len(dataclasses.fields(TableKey)):
        raise ValueError(f"a key of {table} has no other attributes")
    return item_key_values(table, key)


def item_key_values(table: Table, item: Mapping[str, object]) -> KeyValues:
    """The partition and sort value of an item.

    Raises:
        ValueError: one is absent, empty, or of another type than the table's.
    """
    schema = TABLE_KEYS[table]
    partition, sort = item.get(schema.partition), item.get(schema.sort)
    if not isinstance(partition, str) or not partition:
        raise ValueError(f"{schema.partition} of {table} is a string that is not empty")
    if type(sort) is not _SORT_TYPES[table] or sort == "":
        raise ValueError(f"{schema.sort} of {table} is {_SORT_TYPES[table].__name__}, not empty")
    return partition, sort


def write_key(write: Write) -> KeyValues:
    """The key of the item that a write is about."""
    if isinstance(write, PutWrite):
        return item_key_values(write.table, write.item)
    return key_values(write.table, write.key)


def check_item(item: Mapping[str, object]) -> None:
    """Refuses attributes of the DAL's own.

    Raises:
        ValueError: see above.
    """
    if not WRITE_IDS.isdisjoint(item):
        raise ValueError("write ids are the DAL's own")


def check_transaction(writes: Sequence[Write]) -> None:
    """Refuses what DynamoDB takes for no transaction at all.

    Raises:
        ValueError: no write, more than 100, or two of one item.
    """
    if not 1 <= len(writes) <= MAX_TRANSACTION_WRITES:
        raise ValueError(f"a transaction has 1 to {MAX_TRANSACTION_WRITES} writes")
    if len({(write.table, write_key(write)) for write in writes}) != len(writes):
        raise ValueError("a transaction writes an item once")
    for write in writes:
        if isinstance(write, UpdateWrite):
            check_update(write.table, write.update)
        if isinstance(write, PutWrite):
            check_item(write.item)


def check_update(table: Table, update: Update) -> None:
    """Refuses an update of a key attribute, of nothing, or of one attribute twice.

    Raises:
        ValueError: see above.
    """
    members = (*update.add_to_set.items(), *update.remove_from_set.items())
    changed = [*update.set, *update.add, *update.remove, *(name for name, some in members if some)]
    if not changed:
        raise ValueError("an update changes something")
    schema = TABLE_KEYS[table]
    if schema.partition in changed or schema.sort in changed:
        raise ValueError("an item's key never changes")
    check_item(dict.fromkeys(changed))
    if len(set(changed)) != len(changed):
        raise ValueError("an update changes an attribute once")


def query_key(query: Query) -> TableKey:
    """The key attributes that a query runs over.

    Raises:
        ValueError: a limit below 1, or a consistent query of an index.
    """
    if query.limit is not None and query.limit < 1:
        raise ValueError("a page holds 1 item or more")
    if query.index is None:
        return TABLE_KEYS[query.table]
    if query.consistent:
        raise ValueError("an index is eventually consistent")
    return INDEX_KEYS[query.table, query.index]


def is_empty_range(query: Query) -> bool:
    """True where the bounds cross: DynamoDB calls that an error, for us it is an empty page."""
    match query.sort:
        case SortBetween(str() as low, str() as high):
            return low.encode() > high.encode()
        case SortBetween(int() as low, int() as high):
            return low > high
    return False


def check_distinct(table: Table, keys: Sequence[Key]) -> None:
    """Refuses a batch that names a key twice.

    Raises:
        ValueError: see above.
    """
    if len({key_values(table, key) for key in keys}) != len(keys):
        raise ValueError("a batch names a key once")
