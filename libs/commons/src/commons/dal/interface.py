"""What services ask of storage: key-value items in three tables, conditions, pages, transactions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

type Item = dict[str, object]
type Key = Mapping[str, str | int]


class Table(StrEnum):
    """The logical tables; a repository knows the deployed name of each."""

    CHAT_EVENTS = "chat_events"
    CHANNELS = "channels"
    CONNECTIONS = "connections"


@dataclass(frozen=True, slots=True)
class TableKey:
    """The key attributes of a table or of one of its indexes."""

    partition: str
    sort: str


TABLE_KEYS: Mapping[Table, TableKey] = {
    Table.CHAT_EVENTS: TableKey("channel_id", "seq"),
    Table.CHANNELS: TableKey("pk", "sk"),
    Table.CONNECTIONS: TableKey("channel_id", "sk"),
}
MESSAGES_INDEX = "messages"
INDEX_KEYS: Mapping[tuple[Table, str], TableKey] = {
    (Table.CHAT_EVENTS, MESSAGES_INDEX): TableKey("channel_id", "message_seq"),
}
INDEX_ATTRIBUTES: Mapping[tuple[Table, str], frozenset[str]] = {
    (Table.CHAT_EVENTS, MESSAGES_INDEX): frozenset({"sender_id", "redacted"}),
}
"""What a query of the index returns besides the keys of the index and of its table."""


@dataclass(frozen=True, slots=True)
class Exists:
    """The attribute is there; of a key attribute: the item exists."""

    attribute: str


@dataclass(frozen=True, slots=True)
class NotExists:
    """The attribute is absent; of a key attribute: there is no such item."""

    attribute: str


@dataclass(frozen=True, slots=True)
class Compare:
    """The attribute stands in that relation to the value; false where the attribute is absent."""

    attribute: str
    operator: Literal["=", "<>", "<", "<=", ">", ">="]
    value: str | int | bool


@dataclass(frozen=True, slots=True)
class AllOf:
    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    conditions: tuple["Condition", ...]


type Condition = Exists | NotExists | Compare | AllOf | AnyOf


def all_of(*conditions: Condition) -> Condition:
    return AllOf(conditions)


def any_of(*conditions: Condition) -> Condition:
    return AnyOf(conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Changes to one item; the item is created where there is none, unless a condition forbids it.

    Attributes:
        set: attributes and their new values.
        add: numbers to add to (an absent attribute counts as 0).
        remove: attributes to drop; absent ones are ignored.
        add_to_set / remove_from_set: members of string sets (an absent set is empty; an emptied
            one disappears).
    """

    set: Mapping[str, object] = field(default_factory=dict)
    add: Mapping[str, int] = field(default_factory=dict)
    remove: Sequence[str] = ()
    add_to_set: Mapping[str, frozenset[str]] = field(default_factory=dict)
    remove_from_set: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PutWrite:
    table: Table
    item: Item
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class UpdateWrite:
    table: Table
    key: Key
    update: Update
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class DeleteWrite:
    table: Table
    key: Key
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class ConditionCheck:
    """Writes nothing; cancels the transaction where its condition does not hold."""

    table: Table
    key: Key
    condition: Condition


type Write = PutWrite | UpdateWrite | DeleteWrite | ConditionCheck


@dataclass(frozen=True, slots=True)
class SortBetween:
    """Sort keys from `low` to `high`, both included; None leaves that end open."""

    low: str | int | None = None
    high: str | int | None = None


@dataclass(frozen=True, slots=True)
class SortPrefix:
    prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Items of one partition, in the order of the sort key.

    Attributes:
        limit: items evaluated at most, before `where` drops any; None: as many as a page holds.
        start_after: the `last_key` of the page before.
        where: drops items after they were read (and paid for).
        consistent: sees every write acknowledged before; not to be had on an index.
        measured: the page is to say how much was read for it.
    """

    table: Table
    partition: str
    sort: SortBetween | SortPrefix | None = None
    index: str | None = None
    ascending: bool = True
    limit: int | None = None
    consistent: bool = False
    start_after: Key | None = None
    where: Condition | None = None
    attributes: tuple[str, ...] | None = None
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a query, 1 MB at most.

    Attributes:
        last_key: where to go on; None: nothing is left. A page that is full by its limit has one
            even where nothing follows.
        bytes_read: of the items that were evaluated, whole, whatever was asked of them: what is
            billed, in steps of 4 KB (8 KB at most where the query is not consistent). 0 where the
            query is not `measured`.
    """

    items: list[Item]
    last_key: Key | None = None
    bytes_read: int = 0


class IRepository(Protocol):
    """Storage as the services see it.

    Items are dicts of str, int, float, bool, None, bytes, list, dict and frozenset[str]; a number
    that is written comes back as int where it is integral, else as float.

    A write that is repeated underneath because its answer was lost takes effect once and succeeds:
    nobody but the DAL has to recognise its own write. Any call may raise StorageUnavailableError;
    a write may have been made then.
    """

    def get(self, table: Table, key: Key, *, consistent: bool = False) -> Item:
        """The item.

        Raises:
            ObjectNotFoundError: there is none.
        """
        ...

    def find(self, table: Table, key: Key, *, consistent: bool = False) -> Item | None:
        """The item, or None."""
        ...

    def batch_get(
        self, table: Table, keys: Sequence[Key], *, consistent: bool = False
    ) -> list[Item]:
        """Those of the items that exist, in no order; any number of keys, no key twice."""
        ...

    def put(self, table: Table, item: Item, *, condition: Condition | None = None) -> None:
        """Writes the whole item.

        Raises:
            ConditionFailedError: with the item that is there.
        """
        ...

    def update(
        self, table: Table, key: Key, update: Update, *, condition: Condition | None = None
    ) -> Item:
        """Changes the item and returns it as it is then.

        Raises:
            ConditionFailedError: with the item that is there.
        """
        ...

    def delete(self, table: Table, key: Key, *, condition: Condition | None = None) -> None:
        """Removes the item; none there is no error unless a condition says so.

        It does not say what was there: a deletion made again finds nothing. Where that matters,
        mark the item first, by an update that returns it.

        Raises:
            ConditionFailedError: with the item that is there.
        """
        ...

    def batch_delete(self, table: Table, keys: Sequence[Key]) -> None:
        """Removes the items, any number of them; not atomic."""
        ...

    def query(self, query: Query) -> Page:
        """One page: one call, 1 MB at most."""
        ...

    def iterate(self, query: Query) -> Iterator[Item]:
        """Every item from `query` on, page by page as they are consumed; `limit` sizes a page."""
        ...

    def transact(self, writes: Sequence[Write]) -> None:
        """All of the writes or none: 1 to 100, each of another item.

        Raises:
            TransactionCanceledError: at least one condition does not hold. (A transaction that
                merely met another one is tried again inside.)
        """
        ...
