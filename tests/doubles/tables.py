"""The three tables in memory, as any number of processes share them."""

from collections.abc import Mapping, Sequence
from random import Random
from threading import RLock
from typing import Final

from commons.dal.interface import INDEX_ATTRIBUTES, INDEX_KEYS, TABLE_KEYS, Item, Table
from commons.dal.validation import KeyValues

_MAX_WAITING: Final = 20
_LATEST_TTL: Final = 2**32
"""In 2106: tests have tokens that end in 2038."""


class IndexLag:
    """How an index follows its table: late, and not in the order of the writes.

    Each query of an index first lets a part of what waits in, drawn by chance; the writes of one
    item stay in their order. What waits longest never waits for ever.

    Args:
        seed: the same seed lags the same.
        share: the chance of a waiting write to stay out at a query.
    """

    def __init__(self, seed: int, *, share: float = 0.7) -> None:
        self._random = Random(seed)  # noqa: S311 - a fault that can be repeated
        self._share = share
        self._waiting: list[tuple[Table, KeyValues, Item | None]] = []

    def add(self, table: Table, values: KeyValues, item: Item | None) -> None:
        self._waiting.append((table, values, item))

    def due(self) -> list[tuple[Table, KeyValues, Item | None]]:
        """What the index learns now."""
        due: list[tuple[Table, KeyValues, Item | None]] = []
        late: list[tuple[Table, KeyValues, Item | None]] = []
        held: set[tuple[Table, KeyValues]] = set()
        overdue = len(self._waiting) - _MAX_WAITING
        for position, (table, values, item) in enumerate(self._waiting):
            stays = (table, values) in held or (
                position >= overdue and self._random.random() < self._share
            )
            if stays:
                held.add((table, values))
                late.append((table, values, item))
            else:
                due.append((table, values, item))
        self._waiting = late
        return due

    def settle(self) -> None:
        """Lets all that waits in at the next query."""
        self._share = 0.0


class InMemoryTables:
    """Items by key, write ids included. Whoever uses it holds `lock`.

    Args:
        index_lag: without it an index is up to date at once.
    """

    def __init__(self, *, index_lag: IndexLag | None = None) -> None:
        self.lock = RLock()
        self._lag = index_lag
        self._items: dict[Table, dict[str, dict[str | int, Item]]] = {table: {} for table in Table}
        self._indexed: dict[Table, dict[str, dict[str | int, Item]]] = {
            table: {} for table in Table
        }

    def item(self, table: Table, values: KeyValues) -> Item | None:
        partition, sort = values
        return self._items[table].get(partition, {}).get(sort)

    def store(self, table: Table, values: KeyValues, item: Item | None) -> None:
        """Replaces what has that key; None removes it."""
        check_ttl(item)
        _store(self._items[table], values, item)
        if self._lag is not None and any(of_table is table for of_table, _ in INDEX_KEYS):
            self._lag.add(table, values, item)

    def partition(self, table: Table, partition: str, index: str | None) -> Sequence[Item]:
        """The items of a partition of the table, or those that its index knows of."""
        if index is None or self._lag is None:
            return list(self._items[table].get(partition, {}).values())
        for of_table, values, item in self._lag.due():
            _store(self._indexed[of_table], values, item)
        return list(self._indexed[table].get(partition, {}).values())

    def all_items(self, table: Table) -> list[Item]:
        return [item for items in self._items[table].values() for item in items.values()]


def check_ttl(item: Mapping[str, object] | None) -> None:
    """DynamoDB deletes nothing whose TTL is not in seconds; milliseconds are far past any lifetime."""
    ttl = 0 if item is None else item.get("ttl", 0)
    if not isinstance(ttl, int) or ttl > _LATEST_TTL:
        raise AssertionError(f"a row says that it lives until {ttl}, in epoch seconds")


def _store(
    partitions: dict[str, dict[str | int, Item]], values: KeyValues, item: Item | None
) -> None:
    partition, sort = values
    items = partitions.setdefault(partition, {})
    if item is None:
        items.pop(sort, None)
    else:
        items[sort] = item


def held_by_index(table: Table, index: str, item: Mapping[str, object]) -> Item | None:
    """What the index holds of an item; None where it does not know it."""
    schema = INDEX_KEYS[table, index]
    if schema.sort not in item:
        return None
    base = TABLE_KEYS[table]
    held = {*INDEX_ATTRIBUTES[table, index], schema.partition, schema.sort, base.partition}
    held.add(base.sort)
    return {name: value for name, value in item.items() if name in held}
