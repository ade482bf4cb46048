"""The repository in memory: what DynamoDB does, for tests and for a process on its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from threading import Lock

from tests.doubles.conditions import holds, ordered
from tests.doubles.sizes import item_size

from commons.dal.interface import (
    INDEX_ATTRIBUTES,
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
from commons.dal.serialisation import deserialize, serialize_item
from commons.dal.validation import (
    KeyValues,
    check_distinct,
    check_transaction,
    check_update,
    is_empty_range,
    key_values,
    query_key,
    write_key,
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


class InMemoryRepository:
    """An IRepository that holds all three tables; any number of threads may share it.

    Every call is atomic, and an index is up to date at once (DynamoDB's follow within
    milliseconds). Limits are DynamoDB's: 400 KB an item, 1 MB a page, 4 MB a transaction.
    """

    def __init__(self) -> None:
        self._partitions: dict[Table, dict[str, dict[str | int, Item]]] = {
            table: {} for table in Table
        }
        self._lock = Lock()

    def get(self, table: Table, key: Key, *, consistent: bool = False) -> Item:
        item = self.find(table, key, consistent=consistent)
        if item is None:
            raise ObjectNotFoundError(table, key)
        return item

    def find(
        self, table: Table, key: Key, *, consistent: bool = False  # noqa: ARG002  # it always is
    ) -> Item | None:
        values = key_values(table, key)
        with self._lock:
            return _copied(self._stored(table, values))

    def batch_get(
        self, table: Table, keys: Sequence[Key], *, consistent: bool = False
    ) -> list[Item]:
        check_distinct(table, keys)
        found = (self.find(table, key, consistent=consistent) for key in keys)
        return [item for item in found if item is not None]

    def put(self, table: Table, item: Item, *, condition: Condition | None = None) -> None:
        self._write(PutWrite(table, item, condition))

    def update(
        self, table: Table, key: Key, update: Update, *, condition: Condition | None = None
    ) -> Item:
        check_update(table, update)
        _, new = self._write(UpdateWrite(table, key, update, condition))
        if new is None:
            raise AssertionError("an update leaves an item")
        return new

    def delete(self, table: Table, key: Key, *, condition: Condition | None = None) -> Item | None:
        old, _ = self._write(DeleteWrite(table, key, condition))
        return old

    def batch_delete(self, table: Table, keys: Sequence[Key]) -> None:
        for key in keys:
            self.delete(table, key)

    def query(self, query: Query) -> Page:
        schema = query_key(query)
        if is_empty_range(query):
            return Page([])
        with self._lock:
            partition = self._partitions[query.table].get(query.partition, {})
            return _page(query, schema, list(partition.values()))

    def iterate(self, query: Query) -> Iterator[Item]:
        while True:
            page = self.query(query)
            yield from page.items
            if page.last_key is None:
                return
            query = replace(query, start_after=page.last_key)

    def transact(self, writes: Sequence[Write]) -> None:
        check_transaction(writes)
        with self._lock:
            olds = [self._stored(write.table, write_key(write)) for write in writes]
            reasons = [_refusal(write, old) for write, old in zip(writes, olds, strict=True)]
            if any(reason.condition_failed for reason in reasons):
                raise TransactionCanceledError(reasons)
            news = [_written(write, old) for write, old in zip(writes, olds, strict=True)]
            touched = zip(olds, news, strict=True)
            if sum(max(_size(old), _size(new)) for old, new in touched) > MAX_TRANSACTION_BYTES:
                raise RepositoryError("a transaction is about 4 MB of items at most")
            for write, new in zip(writes, news, strict=True):
                self._store(write, new)

    def all_items(self, table: Table) -> list[Item]:
        """Everything in the table, in no order: for whoever must show what is not stored."""
        with self._lock:
            partitions = self._partitions[table].values()
            return [_copied(item) for partition in partitions for item in partition.values()]

    def _write(
        self, write: PutWrite | UpdateWrite | DeleteWrite
    ) -> tuple[Item | None, Item | None]:
        """The item before and after."""
        values = write_key(write)
        with self._lock:
            old = self._stored(write.table, values)
            if write.condition is not None and not holds(write.condition, old):
                raise ConditionFailedError(_copied(old))
            new = _written(write, old)
            self._store(write, new)
            return old, _copied(new)

    def _stored(self, table: Table, values: KeyValues) -> Item | None:
        partition, sort = values
        return self._partitions[table].get(partition, {}).get(sort)

    def _store(self, write: Write, item: Item | None) -> None:
        partition, sort = write_key(write)
        items = self._partitions[write.table].setdefault(partition, {})
        if item is None:
            items.pop(sort, None)
        else:
            items[sort] = item


def _refusal(write: Write, item: Item | None) -> CancellationReason:
    if write.condition is None or holds(write.condition, item):
        return CancellationReason(NO_REASON)
    return CancellationReason(CONDITION_FAILED, _copied(item))


def _written(write: Write, old: Item | None) -> Item | None:
    """The item after the write; always another object than before it."""
    match write:
        case PutWrite():
            new = write.item
        case UpdateWrite():
            new = _updated(old if old is not None else dict(write.key), write.update)
        case DeleteWrite():
            return None
        case ConditionCheck():
            return old
    new = deserialize(serialize_item(new))
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


def _page(query: Query, schema: TableKey, partition: list[Item]) -> Page:
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
        entry = _projected(query, key_names, item)
        page_bytes += _size(entry)
        if last is not None and page_bytes > MAX_PAGE_BYTES:
            return Page(items, _key_of(last, key_names))
        last = item
        if query.where is None or holds(query.where, entry):
            items.append(_selected(query, entry))
        if evaluated == query.limit:
            # DynamoDB stops here without looking whether anything is left.
            return Page(items, _key_of(item, key_names))
    return Page(items)


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


def _projected(query: Query, key_names: Iterable[str], item: Item) -> Item:
    """What the table or the index holds of the item."""
    if query.index is None:
        return item
    held = INDEX_ATTRIBUTES[query.table, query.index].union(key_names)
    return {name: value for name, value in item.items() if name in held}


def _selected(query: Query, entry: Item) -> Item:
    if query.attributes is None:
        return _copied(entry)
    return _copied({name: entry[name] for name in query.attributes if name in entry})


def _key_of(item: Item, key_names: Iterable[str]) -> Key:
    return {name: value for name in key_names if isinstance(value := item[name], str | int)}


def _size(item: Item | None) -> int:
    return 0 if item is None else item_size(item)


def _copied[Stored: Item | None](item: Stored) -> Stored:
    """The caller may change what it got without changing what is stored."""
    return deepcopy(item)
