"""Storage under which a call fails, or whose answer is lost: one fault at a time, at any call."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.doubles.canary import canary
from tests.doubles.repository import InMemoryRepository, SingleWrite
from tests.doubles.tables import InMemoryTables

from commons.dal import (
    Condition,
    IRepository,
    Item,
    Key,
    Page,
    PutWrite,
    Query,
    Table,
    Update,
    UpdateWrite,
    Write,
)
from commons.dynamodb.exceptions import StorageBusyError, StorageUnavailableError


@dataclass(frozen=True, slots=True)
class Failure:
    """What happens at the call with that number, counted from 1.

    Attributes:
        kind: busy or unreachable.
        committed: the call is made, then its answer is lost for good; a throttled call never is.
        lasting: so are all calls after it.
    """

    at_call: int
    kind: type[StorageUnavailableError] = StorageBusyError
    committed: bool = False
    lasting: bool = False

    def strikes(self, call: int) -> bool:
        return call == self.at_call or (self.lasting and call > self.at_call)


class FailingRepository:
    """Passes every call on to `inner` but for those that fail; each page of an iteration is a call.

    Attributes:
        calls: the methods that were called since `arm`, in order.
    """

    def __init__(self, inner: IRepository, failure: Failure | None = None) -> None:
        self._inner = inner
        self._failure = failure
        self.calls: list[str] = []

    def arm(self, failure: Failure | None) -> None:
        """Counts anew; None: nothing fails any more."""
        self._failure = failure
        self.calls = []

    @property
    def has_failed(self) -> bool:
        return self._failure is not None and len(self.calls) >= self._failure.at_call

    def _call[Answer](self, name: str, call: Callable[[], Answer]) -> Answer:
        self.calls.append(name)
        failure = self._failure
        if failure is None or not failure.strikes(len(self.calls)):
            return call()
        if failure.committed:
            call()
        # Of an exception only the kind may be logged or answered.
        raise failure.kind(canary(f"call {len(self.calls)} fails"))

    def get(self, table: Table, key: Key, *, consistent: bool = False) -> Item:
        return self._call("get", lambda: self._inner.get(table, key, consistent=consistent))

    def find(self, table: Table, key: Key, *, consistent: bool = False) -> Item | None:
        return self._call("find", lambda: self._inner.find(table, key, consistent=consistent))

    def batch_get(
        self, table: Table, keys: Sequence[Key], *, consistent: bool = False
    ) -> list[Item]:
        return self._call(
            "batch_get", lambda: self._inner.batch_get(table, keys, consistent=consistent)
        )

    def put(self, table: Table, item: Item, *, condition: Condition | None = None) -> None:
        self._call("put", lambda: self._inner.put(table, item, condition=condition))

    def update(
        self, table: Table, key: Key, update: Update, *, condition: Condition | None = None
    ) -> Item:
        return self._call(
            "update", lambda: self._inner.update(table, key, update, condition=condition)
        )

    def delete(self, table: Table, key: Key, *, condition: Condition | None = None) -> None:
        self._call("delete", lambda: self._inner.delete(table, key, condition=condition))

    def batch_delete(self, table: Table, keys: Sequence[Key]) -> None:
        self._call("batch_delete", lambda: self._inner.batch_delete(table, keys))

    def query(self, query: Query) -> Page:
        return self._call("query", lambda: self._inner.query(query))

    def iterate(self, query: Query) -> Iterator[Item]:
        while True:
            page = self.query(query)
            yield from page.items
            if page.last_key is None:
                return
            query = replace(query, start_after=page.last_key)

    def transact(self, writes: Sequence[Write]) -> None:
        self._call("transact", lambda: self._inner.transact(writes))


NEVER: Final = 0


class RepeatingRepository(InMemoryRepository):
    """Makes writes and loses the answer; botocore then makes the same call again.

    Args:
        at_write: only the write with that number (from 1) is repeated; None: every one.
    """

    def __init__(
        self,
        tables: InMemoryTables | None = None,
        *,
        at_write: int | None = None,
    ) -> None:
        super().__init__(tables)
        self._at_write = at_write
        self._meanwhile: Callable[[], None] | None = None
        self.writes = 0

    def arm(self, at_write: int | None, meanwhile: Callable[[], None] | None = None) -> None:
        """Counts the writes anew.

        Args:
            at_write: as above.
            meanwhile: what others do between the write and its repetition, once.
        """
        self._at_write = at_write
        self._meanwhile = meanwhile
        self.writes = 0

    def _write(self, write: SingleWrite, write_id: str) -> Item | None:
        answer = super()._write(write, write_id)
        return super()._write(write, write_id) if self._is_lost() else answer

    def _transact(self, writes: Sequence[Write], write_id: str) -> None:
        super()._transact(writes, write_id)
        # Where nothing is left behind to know it by, DynamoDB knows it by its token.
        leaves_id = any(isinstance(write, PutWrite | UpdateWrite) for write in writes)
        if self._is_lost() and leaves_id:
            super()._transact(writes, write_id)

    def batch_delete(self, table: Table, keys: Sequence[Key]) -> None:
        super().batch_delete(table, keys)
        if self._is_lost():
            super().batch_delete(table, keys)

    def _is_lost(self) -> bool:
        self.writes += 1
        if self._at_write not in {None, self.writes}:
            return False
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return True
