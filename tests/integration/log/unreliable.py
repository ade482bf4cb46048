"""Storage under a process that dies, an SDK that repeats, and others who write meanwhile."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from tests.doubles.faults import NEVER, RepeatingRepository

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
from commons.dal.validation import write_key
from commons.dynamodb.exceptions import (
    NO_REASON,
    CancellationReason,
    RepositoryError,
    TransactionCanceledError,
)


class CrashError(Exception):
    """The process ended here: neither an answer nor a clean-up follows."""


def nothing() -> None:
    pass


@dataclass(frozen=True)
class Fault:
    """What happens at the call with that number, counted from 1.

    Attributes:
        kind: crash before the call, crash once it was made, the SDK makes it twice because the
            first answer was lost, or `meanwhile` runs right before it.
    """

    at_call: int
    kind: Literal["crash before", "crash after", "repeat", "meanwhile"]
    meanwhile: Callable[[], None] = nothing


class UnreliableRepository:
    """Passes every call on to `inner` but for one fault at a time."""

    def __init__(self, inner: IRepository) -> None:
        self._inner = inner
        self._fault: Fault | None = None
        self._calls = 0

    def arm(self, fault: Fault) -> None:
        self._fault = fault
        self._calls = 0

    def disarm(self) -> None:
        self._fault = None

    def _call[Answer](
        self, call: Callable[[], Answer], *, is_repeated_by_sdk: bool = False
    ) -> Answer:
        self._calls += 1
        fault = self._fault
        if fault is None or fault.at_call != self._calls:
            return call()
        self._fault = None
        match fault.kind:
            case "crash before":
                raise CrashError
            case "crash after":
                with suppress(RepositoryError):
                    call()
                raise CrashError
            case "repeat":
                if is_repeated_by_sdk:
                    return self._repeated(call)
            case "meanwhile":
                fault.meanwhile()
        return call()

    def _repeated[Answer](self, call: Callable[[], Answer]) -> Answer:
        assert isinstance(self._inner, RepeatingRepository), "this storage repeats nothing"
        self._inner.arm(1)
        try:
            return call()
        finally:
            self._inner.arm(NEVER)

    def get(self, table: Table, key: Key, *, consistent: bool = False) -> Item:
        return self._call(lambda: self._inner.get(table, key, consistent=consistent))

    def find(self, table: Table, key: Key, *, consistent: bool = False) -> Item | None:
        return self._call(lambda: self._inner.find(table, key, consistent=consistent))

    def batch_get(
        self, table: Table, keys: Sequence[Key], *, consistent: bool = False
    ) -> list[Item]:
        return self._call(lambda: self._inner.batch_get(table, keys, consistent=consistent))

    def put(self, table: Table, item: Item, *, condition: Condition | None = None) -> None:
        self._call(
            lambda: self._inner.put(table, item, condition=condition), is_repeated_by_sdk=True
        )

    def update(
        self, table: Table, key: Key, update: Update, *, condition: Condition | None = None
    ) -> Item:
        return self._call(
            lambda: self._inner.update(table, key, update, condition=condition),
            is_repeated_by_sdk=True,
        )

    def delete(self, table: Table, key: Key, *, condition: Condition | None = None) -> None:
        self._call(
            lambda: self._inner.delete(table, key, condition=condition), is_repeated_by_sdk=True
        )

    def batch_delete(self, table: Table, keys: Sequence[Key]) -> None:
        self._call(lambda: self._inner.batch_delete(table, keys), is_repeated_by_sdk=True)

    def query(self, query: Query) -> Page:
        return self._call(lambda: self._inner.query(query))

    def iterate(self, query: Query) -> Iterator[Item]:
        return iter(self._call(lambda: list(self._inner.iterate(query))))

    def transact(self, writes: Sequence[Write]) -> None:
        self._call(lambda: self._inner.transact(writes), is_repeated_by_sdk=True)


class Storage(RepeatingRepository):
    """Loses an answer only when it is told to."""

    def __init__(self) -> None:
        super().__init__(at_write=NEVER)


class WithoutConditionalPut(Storage):
    """The log without `attribute_not_exists`: the later of two writers replaces the event."""

    def put(self, table: Table, item: Item, *, condition: Condition | None = None) -> None:
        super().put(table, item, condition=None if table is Table.CHAT_EVENTS else condition)

    def transact(self, writes: Sequence[Write]) -> None:
        super().transact(
            [
                (
                    replace(write, condition=None)
                    if isinstance(write, PutWrite) and "sender_id" in write.item
                    else write
                )
                for write in writes
            ]
        )


class WithoutMarkers(Storage):
    """Events only, no marker in their transaction."""

    def transact(self, writes: Sequence[Write]) -> None:
        super().transact([write for write in writes if not _is_marker(write)])


class WithMarkersAfterwards(Storage):
    """The marker is there, but written by a call of its own after the event's."""

    def transact(self, writes: Sequence[Write]) -> None:
        markers = [write for write in writes if _is_marker(write)]
        events = [write for write in writes if not _is_marker(write)]
        super().transact(events)
        if markers:
            try:
                super().transact(markers)
            except TransactionCanceledError as error:
                unharmed = [CancellationReason(NO_REASON)] * len(events)
                raise TransactionCanceledError([*unharmed, *error.reasons]) from None


class WithoutRedaction(Storage):
    """Deletions that leave the events as they were."""

    def transact(self, writes: Sequence[Write]) -> None:
        super().transact(
            [
                write
                for write in writes
                if not (isinstance(write, UpdateWrite) and write.table is Table.CHAT_EVENTS)
            ]
        )


def _is_marker(write: Write) -> bool:
    partition, _ = write_key(write)
    return str(partition).startswith("idem#")
