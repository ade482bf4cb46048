"""A warm function whose calls and write units are counted."""

from collections.abc import Callable, Sequence
from math import ceil

from tests.doubles.sizes import WRITE_UNIT_BYTES, item_size
from tests.integration.log.unreliable import UnreliableRepository

from commons.dal import Condition, IRepository, Item, PutWrite, Table, Write
from commons.dynamodb.exceptions import ConditionFailedError, TransactionCanceledError


class MeteredProcess(UnreliableRepository):
    """A warm function: its own memory of heads, on tables that others use too."""

    def __init__(self, tables: IRepository) -> None:
        super().__init__(tables)
        self.calls = 0
        self.write_units = 0
        self.lost = 0

    def _call[Answer](
        self, call: Callable[[], Answer], *, is_repeated_by_sdk: bool = False
    ) -> Answer:
        self.calls += 1
        return super()._call(call, is_repeated_by_sdk=is_repeated_by_sdk)

    def put(self, table: Table, item: Item, *, condition: Condition | None = None) -> None:
        self.write_units += _units(item)
        try:
            super().put(table, item, condition=condition)
        except ConditionFailedError:
            self.lost += 1
            raise
        self.write_units += _index_units(item)

    def transact(self, writes: Sequence[Write]) -> None:
        items = [write.item for write in writes if isinstance(write, PutWrite)]
        self.write_units += 2 * sum(map(_units, items))
        try:
            super().transact(writes)
        except TransactionCanceledError:
            self.lost += 1
            raise
        self.write_units += sum(map(_index_units, items))


def _units(item: Item) -> int:
    return ceil(item_size(item) / WRITE_UNIT_BYTES)


def _index_units(item: Item) -> int:
    return 1 if "message_seq" in item else 0
