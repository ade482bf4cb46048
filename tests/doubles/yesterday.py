"""Storage as it is allowed to be: a read that does not ask for consistency shows the past."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.doubles.repository import InMemoryRepository
from tests.doubles.tables import InMemoryTables

from commons.dal import Item, Key, Page, Query, Table
from commons.dal.validation import KeyValues, item_key_values


class YesterdaysRepository(InMemoryRepository):
    """Answers reads that are not consistent, and each read of an index, from some moments ago.

    Each such read sees the tables as they were up to `lag` writes before, how many its seed says:
    one read may be older than the one before it, as in DynamoDB.

    Args:
        seed: of how late each read is.
        lag: writes, at most.
    """

    def __init__(self, seed: int, *, lag: int = 1_000) -> None:
        self._history = _Tables()
        super().__init__(self._history)
        self._random = random.Random(seed)  # noqa: S311 - a test's
        self._lag = lag

    def find(self, table: Table, key: Key, *, consistent: bool = False) -> Item | None:
        if consistent:
            return super().find(table, key, consistent=True)
        with self._past() as past:
            return past.find(table, key)

    def batch_get(
        self, table: Table, keys: Sequence[Key], *, consistent: bool = False
    ) -> list[Item]:
        if consistent:
            return super().batch_get(table, keys, consistent=True)
        with self._past() as past:
            return past.batch_get(table, keys)

    def query(self, query: Query) -> Page:
        if query.consistent:
            return super().query(query)
        with self._past() as past:
            return past.query(query)

    @contextmanager
    def _past(self) -> Iterator[InMemoryRepository]:
        with self.tables.lock:
            late = self._random.randint(0, min(self._lag, len(self._history.undo)))
            past = self._history.before(late)
        yield InMemoryRepository(past)


class _Tables(InMemoryTables):
    """Remembers what each write replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.undo: list[tuple[Table, KeyValues, Item | None]] = []

    def store(self, table: Table, values: KeyValues, item: Item | None) -> None:
        self.undo.append((table, values, self.item(table, values)))
        super().store(table, values, item)

    def before(self, writes: int) -> InMemoryTables:
        """The tables as they were so many writes ago."""
        past = InMemoryTables()
        for table in Table:
            for item in self.all_items(table):
                past.store(table, item_key_values(table, item), item)
        for undone in reversed(self.undo[len(self.undo) - writes :]):
            past.store(*undone)
        return past
