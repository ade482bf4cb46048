"""Storage as it is allowed to be: a read that does not ask for consistency shows the past."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.doubles.repository import InMemoryRepository

from commons.dal import Item, Key, Page, Query, Table, Write
from commons.dal.validation import write_key


class YesterdaysRepository(InMemoryRepository):
    """Answers reads that are not consistent, and each read of an index, from some moments ago.

    Each such read sees the tables as they were up to `lag` writes before, how many its seed says:
    one read may be older than the one before it, as in DynamoDB.

    Args:
        seed: of how late each read is.
        lag: writes, at most.
    """

    def __init__(self, seed: int, *, lag: int = 1_000) -> None:
        super().__init__()
        self._random = random.Random(seed)  # noqa: S311 - a test's
        self._lag = lag
        self._undo: list[Mapping[tuple[Table, str, str | int], Item | None]] = []

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

    def _store(self, write: Write, item: Item | None) -> None:
        values = write_key(write)
        self._undo.append({(write.table, *values): self._stored(write.table, values)})
        super()._store(write, item)

    @contextmanager
    def _past(self) -> Iterator[InMemoryRepository]:
        with self._lock:
            writes = list(self._undo)
        late = self._random.randint(0, min(self._lag, len(writes)))
        past = InMemoryRepository()
        for table in Table:
            for stored in self.all_items(table):
                past.put(table, stored)
        for undone in reversed(writes[len(writes) - late :]):
            for (table, partition, sort), item in undone.items():
                if item is not None:
                    past.put(table, item)
                    continue
                names = _KEY_NAMES[table]
                past.delete(table, {names[0]: partition, names[1]: sort})
        yield past


_KEY_NAMES = {
    Table.CHAT_EVENTS: ("channel_id", "seq"),
    Table.CHANNELS: ("pk", "sk"),
    Table.CONNECTIONS: ("channel_id", "sk"),
}
