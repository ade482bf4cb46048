"""What calls of an InMemoryRepository cost: DynamoDB's rules over the bytes of what they touch.

The rules are the developer guide's ("Read and write request units"): 4 KB a read unit, half of it
where the read is not consistent, each item of a batch rounded up by itself, a query's items
together; 1 KB a write unit, of the larger of an item before and after, twice that in a transaction,
and one write of an index entry that appears, changes or goes. A refused write costs what it would
have.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from tests.doubles.sizes import READ_UNIT_BYTES, WRITE_UNIT_BYTES, item_size
from tests.doubles.tables import held_by_index

from commons.dal.interface import INDEX_KEYS, Item, Table

TRANSACTION: Final = "TransactWriteItems"


@dataclass(frozen=True, slots=True)
class Change:
    """What a write makes of an item, or was to make where it was refused."""

    table: Table
    before: Item | None
    after: Item | None
    is_refused: bool = False


@dataclass(slots=True)
class Meter:
    """Adds up what the repositories that hold it are asked.

    Attributes:
        calls: DynamoDB's names of them, in order.
    """

    calls: list[str] = field(default_factory=list)
    read_units: float = 0
    write_units: int = 0

    def read(self, call: str, sizes: Sequence[int], *, consistent: bool) -> None:
        """A call that read items, or one page, of so many bytes."""
        self.calls.append(call)
        units = sum(max(1, ceil(size / READ_UNIT_BYTES)) for size in sizes)
        self.read_units += units if consistent else units / 2

    def write(self, call: str, changes: Sequence[Change]) -> None:
        """A call that made the changes, or was refused."""
        self.calls.append(call)
        factor = 2 if call == TRANSACTION else 1
        for change in changes:
            size = max(_size(change.before), _size(change.after), 1)
            self.write_units += ceil(size / WRITE_UNIT_BYTES) * factor
            if not change.is_refused:
                self.write_units += _index_units(change)


def _index_units(change: Change) -> int:
    units = 0
    for table, index in INDEX_KEYS:
        if table is not change.table:
            continue
        old, new = (
            None if item is None else held_by_index(table, index, item)
            for item in (change.before, change.after)
        )
        if old != new:
            units += ceil(max(_size(old), _size(new)) / WRITE_UNIT_BYTES)
    return units


def _size(item: Item | None) -> int:
    return 0 if item is None else item_size(item)
