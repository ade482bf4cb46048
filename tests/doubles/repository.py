"""The repository in memory: what DynamoDB does, for tests and for a process on its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import batched
from typing import Final

from tests.doubles.conditions import holds, ordered
from tests.doubles.meter import TRANSACTION, Change, Meter
from tests.doubles.sizes import billed_bytes, item_size
from tests.doubles.tables import InMemoryTables, held_by_index

from commons.dal.dynamodb import BATCH_GET_KEYS, BATCH_WRITE_KEYS
from commons.dal.interface import (
    TABLE_KEYS,
    Condition,
    ConditionCheck,
    DeleteWrite,
    Item,
    Key,
    Page,
    PutWrite,
    Query,
    SortBetween,
    SortPrefix,
    Table,
    TableKey,
    Update,
    UpdateWrite,
    Write,
)
from commons.dal.serialisation import deserialize_stored, serialize_item
from commons.dal.validation import (
    check_distinct,
    check_item,
    check_transaction,
    check_update,
    is_empty_range,
    key_values,
    query_key,
    write_key,
)
from commons.dal.write_ids import (
    EARLIER_UPDATE_ID,
    PUT_ID,
    UPDATE_ID,
    new_write_id,
    without_write_ids,
    wrote,
)
from commons.dynamodb.exceptions import (
    CONDITION_FAILED,
    NO_REASON,
    CancellationReason,
    ConditionFailedError,
    ObjectNotFoundError,
    RepositoryError,
    TransactionCanceledError,
)

MAX_ITEM_BYTES = 400 * 1024
MAX_PAGE_BYTES = 1024 * 1024
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024

type SingleWrite = PutWrite | UpdateWrite | DeleteWrite

_SINGLE_CALLS: Final[Mapping[type[SingleWrite], str]] = {
    PutWrite: "PutItem",
    UpdateWrite: "UpdateItem",
    DeleteWrite: "DeleteItem",
}


class InMemoryRepository:
    """An IRepository over tables in memory; any number of threads may share it.

    Every call is atomic. Limits are DynamoDB's: 400 KB an item, 1 MB a page, 4 MB a transaction.

    Args:
        tables: those of another repository, for a second process on the same storage; by default
            new ones, empty.
        meter: counts the calls of this process, and what they cost.
    """

    def __init__(self, tables: InMemoryTables | None = None, *, meter: Meter | None = None) -> None:
        self.tables = tables if tables is not None else InMemoryTables()
        self._meter = meter

    def get(self, table: Table, key: Key, *, consistent: bool = False) -> Item:
        item = self.find(table, key, consistent=consistent)
        if item is None:
            raise ObjectNotFoundError(table, key)
        return item

    def find(self, table: Table, key: Key, *, consistent: bool = False) -> Item | None:
        values = key_values(table, key)
        with self.tables.lock:
            item = self.tables.item(table, values)
            self._count_read("GetItem", [_size(item)], consistent=consistent)
            return _seen(item)

    def batch_get(
        self, table: Table, keys: Sequence[Key], *, consistent: bool = False
    ) -> list[Item]:
        check_distinct(table, keys)
        items: list[Item] = []
        for chunk in batched(keys, BATCH_GET_KEYS):
            with self.tables.lock:
                found = [self.tables.item(table, key_values(table, key)) for key in chunk]
                self._count_read(
                    "BatchGetItem", [_size(item) for item in found], consistent=consistent
                )
                items += [_visible(item) for item in found if item is not None]
        return items

    def put(self, table: Table, item: Item, *, condition: Condition | None = None) -> None:
        check_item(item)
        self._write(PutWrite(table, item, condition), new_write_id())

    def update(
        self, table: Table, key: Key, update: Update, *, condition: Condition | None = None
    ) -> Item:
        check_update(table, update)
        new = self._write(UpdateWrite(table, key, update, condition), new_write_id())
        if new is None:
            raise AssertionError("an update leaves an item")
        return new

    def delete(self, table: Table, key: Key, *, condition: Condition | None = None) -> None:
        if condition is None:
            self._write(DeleteWrite(table, key), new_write_id())
            return
        try:
            self.transact([DeleteWrite(table, key, condition)])
        except TransactionCanceledError as error:
            raise ConditionFailedError(error.reasons[0].item) from None

    def batch_delete(self, table: Table, keys: Sequence[Key]) -> None:
        distinct = {key_values(table, key): key for key in keys}
        for chunk in batched(distinct.values(), BATCH_WRITE_KEYS):
            with self.tables.lock:
                writes = [DeleteWrite(table, key) for key in chunk]
                olds = [self._stored(write) for write in writes]
                for write in writes:
                    self.tables.store(table, write_key(write), None)
                self._count("BatchWriteItem", [Change(table, old, None) for old in olds])

    def query(self, query: Query) -> Page:
        schema = query_key(query)
        if is_empty_range(query):
            return Page([])
        with self.tables.lock:
            items = self.tables.partition(query.table, query.partition, query.index)
            page, evaluated = _page(query, schema, items)
            self._count_read("Query", [evaluated], consistent=query.consistent)
            return replace(page, bytes_read=billed_bytes(evaluated)) if query.measured else page

    def iterate(self, query: Query) -> Iterator[Item]:
        while True:
            page = self.query(query)
            yield from page.items
            if page.last_key is None:
                return
            query = replace(query, start_after=page.last_key)

    def transact(self, writes: Sequence[Write]) -> None:
        check_transaction(writes)
        self._transact(writes, new_write_id())

    def all_items(self, table: Table) -> list[Item]:
        """Everything in the table, in no order: for whoever must show what is not stored."""
        with self.tables.lock:
            return [_visible(item) for item in self.tables.all_items(table)]

    # A call as DynamoDB gets it; the SDK may make the same one again.

    def _write(self, write: SingleWrite, write_id: str) -> Item | None:
        """Makes the write unless it was made already; the item afterwards."""
        with self.tables.lock:
            old = self._stored(write)
            is_repeated = wrote(write_id, old)
            if not is_repeated and _refusal(write, old).condition_failed:
                self._count(_SINGLE_CALLS[type(write)], _refused([write], [old]))
                raise ConditionFailedError(_seen(old))
            new = old if is_repeated else _written(write, old, write_id)
            self.tables.store(write.table, write_key(write), new)
            self._count(_SINGLE_CALLS[type(write)], [Change(write.table, old, new)])
            return _seen(new)

    def _transact(self, writes: Sequence[Write], write_id: str) -> None:
        """Makes all the writes unless they were made already."""
        with self.tables.lock:
            olds = [self._stored(write) for write in writes]
            if any(wrote(write_id, old) for old in olds):
                return
            reasons = [_refusal(write, old) for write, old in zip(writes, olds, strict=True)]
            if any(reason.condition_failed for reason in reasons):
                self._count(TRANSACTION, _refused(writes, olds))
                raise TransactionCanceledError(reasons)
            news = [_written(write, old, write_id) for write, old in zip(writes, olds, strict=True)]
            touched = zip(olds, news, strict=True)
            if sum(max(_size(old), _size(new)) for old, new in touched) > MAX_TRANSACTION_BYTES:
                raise RepositoryError("a transaction is about 4 MB of items at most")
            for write, new in zip(writes, news, strict=True):
                self.tables.store(write.table, write_key(write), new)
            changes = zip(writes, olds, news, strict=True)
            self._count(TRANSACTION, [Change(each.table, old, new) for each, old, new in changes])

    def _count(self, call: str, changes: Sequence[Change]) -> None:
        if self._meter is not None:
            self._meter.write(call, changes)

    def _count_read(self, call: str, sizes: Sequence[int], *, consistent: bool) -> None:
        if self._meter is not None:
            self._meter.read(call, sizes, consistent=consistent)

    def _stored(self, write: Write) -> Item | None:
        return self.tables.item(write.table, write_key(write))


def _refusal(write: Write, item: Item | None) -> CancellationReason:
    if write.condition is None or holds(write.condition, item):
        return CancellationReason(NO_REASON)
    return CancellationReason(CONDITION_FAILED, _seen(item))


def _refused(writes: Sequence[Write], olds: Sequence[Item | None]) -> list[Change]:
    return [
        Change(
            write.table, old, write.item if isinstance(write, PutWrite) else old, is_refused=True
        )
        for write, old in zip(writes, olds, strict=True)
    ]


def _written(write: Write, old: Item | None, write_id: str) -> Item | None:
    """The item after the write; always another object than before it."""
    match write:
        case PutWrite():
            new: Item = {**write.item, PUT_ID: write_id}
        case UpdateWrite():
            before: Item = {**write.key} if old is None else old
            new = _updated(before, write.update)
            new |= {UPDATE_ID: write_id, EARLIER_UPDATE_ID: before.get(UPDATE_ID, write_id)}
        case DeleteWrite():
            return None
        case ConditionCheck():
            return old
    new = deserialize_stored(serialize_item(new))
    if _size(new) > MAX_ITEM_BYTES:
        raise RepositoryError("an item has at most 400 KB")
    return new


def _updated(item: Item, update: Update) -> Item:
    kept = {name: value for name, value in item.items() if name not in update.remove}
    new: Item = {**kept, **update.set}
    for name, amount in update.add.items():
        number = new.get(name, 0)
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise RepositoryError(f"{name} is no number to add to")
        new[name] = number + amount
    for name, members in update.add_to_set.items():
        if members:
            new[name] = _string_set(new, name) | members
    for name, members in update.remove_from_set.items():
        if left := _string_set(new, name) - members:
            new[name] = left
        else:
            new.pop(name, None)
    return new


def _string_set(item: Item, name: str) -> frozenset[object]:
    members = item.get(name, frozenset())
    if not isinstance(members, frozenset):
        raise RepositoryError(f"{name} is no set")
    return members


def _page(query: Query, schema: TableKey, partition: Sequence[Item]) -> tuple[Page, int]:
    """The page, and the bytes of all that was evaluated for it."""
    table_schema = TABLE_KEYS[query.table]
    key_names = dict.fromkeys(
        (schema.partition, schema.sort, table_schema.partition, table_schema.sort)
    )

    def position(item: Mapping[str, object]) -> tuple[object, ...]:
        return ordered(item[schema.sort]), ordered(item[table_schema.sort])

    # An item without the index's sort key is not in the index.
    entries = [item for item in partition if schema.sort in item and _in_range(query, schema, item)]
    entries.sort(key=position, reverse=not query.ascending)
    if query.start_after is not None:
        start = position(query.start_after)
        entries = [
            item
            for item in entries
            if (position(item) > start if query.ascending else position(item) < start)
        ]
    items: list[Item] = []
    page_bytes = 0
    last: Item | None = None
    for evaluated, item in enumerate(entries, start=1):
        entry = _projected(query, item)
        size = _size(entry)
        if last is not None and page_bytes + size > MAX_PAGE_BYTES:
            return Page(items, _key_of(last, key_names)), page_bytes
        page_bytes += size
        last = item
        if query.where is None or holds(query.where, entry):
            items.append(_selected(query, entry))
        if evaluated == query.limit:
            # DynamoDB stops here without looking whether anything is left.
            return Page(items, _key_of(item, key_names)), page_bytes
    return Page(items), page_bytes


def _in_range(query: Query, schema: TableKey, item: Item) -> bool:
    value = item[schema.sort]
    match query.sort:
        case None:
            return True
        case SortPrefix(prefix):
            return isinstance(value, str) and value.startswith(prefix)
        case SortBetween(low, high):
            return (low is None or ordered(value) >= ordered(low)) and (
                high is None or ordered(value) <= ordered(high)
            )


def _projected(query: Query, item: Item) -> Item:
    """What the table or the index holds of the item."""
    held = item if query.index is None else held_by_index(query.table, query.index, item)
    return item if held is None else held


def _selected(query: Query, entry: Item) -> Item:
    if query.attributes is None:
        return _visible(entry)
    return _visible({name: entry[name] for name in query.attributes if name in entry})


def _key_of(item: Item, key_names: Iterable[str]) -> Key:
    return {name: value for name in key_names if isinstance(value := item[name], str | int)}


def _size(item: Item | None) -> int:
    return 0 if item is None else item_size(item)


def _visible(item: Item) -> Item:
    """A copy: the caller may change what it got without changing what is stored."""
    return deepcopy(without_write_ids(item))


def _seen(item: Item | None) -> Item | None:
    return None if item is None else _visible(item)
