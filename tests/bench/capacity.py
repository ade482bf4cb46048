"""What DynamoDB would bill for calls, computed from the bytes of the items they touch.

Neither moto nor the emulator counts reads as DynamoDB does. The rules are the developer guide's
("Read and write request units"): 4 KB a read unit, half of it where the read is not consistent, each
item of a batch rounded up by itself, a query's items together; 1 KB a write unit, of the larger of
an item before and after, twice that in a transaction, and one write of an index entry that appears,
changes or goes. A refused write costs what it would have. A condition check counts as a write.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from threading import Lock
from typing import TYPE_CHECKING, Final, cast

from tests.doubles.sizes import READ_UNIT_BYTES, WRITE_UNIT_BYTES, item_size

from commons.dal import INDEX_ATTRIBUTES, INDEX_KEYS, TABLE_KEYS, Item, Table
from commons.dal.serialisation import deserialize_stored

if TYPE_CHECKING:
    from botocore.model import OperationModel
    from mypy_boto3_dynamodb import DynamoDBClient

type Params = dict[str, object]
type Image = Mapping[str, Mapping[str, object]]

_SINGLE_WRITES: Final = {"PutItem": "Put", "UpdateItem": "Update", "DeleteItem": "Delete"}
_TRANSACTION_FACTOR: Final = 2


@dataclass
class Cost:
    """Calls, and read and write units, of one operation of the product."""

    calls: list[str] = field(default_factory=list)
    read_units: float = 0
    write_units: int = 0


@dataclass(frozen=True)
class _Write:
    verb: str
    table: Table
    params: Mapping[str, object]
    before: Item | None
    factor: int


@dataclass(frozen=True)
class _Request:
    params: Params
    writes: Sequence[_Write]


class CapacityMeter:
    """Watches a client.

    Args:
        watched: its calls are counted.
        plain: another client on the same tables, for looking at items before and after a write.
        table_names: of the deployed tables.
    """

    def __init__(
        self,
        watched: "DynamoDBClient",
        plain: "DynamoDBClient",
        table_names: Mapping[Table, str],
    ) -> None:
        self._plain = plain
        self._tables = {name: table for table, name in table_names.items()}
        self._cost: Cost | None = None
        self._lock = Lock()
        watched.meta.events.register("provide-client-params.dynamodb", self._before)
        watched.meta.events.register("after-call.dynamodb", self._after)

    @contextmanager
    def measuring(self) -> Iterator[Cost]:
        """Counts what is called meanwhile, by whatever threads."""
        cost = self._cost = Cost()
        try:
            yield cost
        finally:
            self._cost = None

    def _before(
        self, params: Params, model: "OperationModel", context: dict[str, object], **_: object
    ) -> None:
        if self._cost is None:
            return
        writes = [
            _Write(verb, table, request, self._item(table, verb, request), factor)
            for verb, table, request, factor in self._writes(model.name, params)
        ]
        context["capacity"] = _Request(params, writes)

    def _after(
        self,
        parsed: Mapping[str, object],
        model: "OperationModel",
        context: Mapping[str, object],
        **_: object,
    ) -> None:
        request = context.get("capacity")
        if self._cost is None or not isinstance(request, _Request):
            return
        read_units = self._read_units(model.name, request.params, parsed)
        write_units = sum(map(self._write_units, request.writes))
        with self._lock:
            self._cost.calls.append(model.name)
            self._cost.read_units += read_units
            self._cost.write_units += write_units

    # -- reads

    def _read_units(self, operation: str, params: Params, answer: Mapping[str, object]) -> float:
        match operation:
            case "GetItem":
                sizes = [item_size(deserialize_stored(cast("Image", answer.get("Item", {}))))]
                return _read(sizes, consistent=bool(params.get("ConsistentRead")))
            case "BatchGetItem":
                return _batch_read_units(params, answer)
            case "Query":
                total = sum(map(item_size, self._evaluated(params, answer)))
                return _read([total], consistent=bool(params.get("ConsistentRead")))
        return 0

    def _evaluated(self, params: Params, answer: Mapping[str, object]) -> list[Item]:
        """The items of a query as they were before a filter or a projection."""
        if not answer["ScannedCount"]:
            return []
        kept: Params = {
            name: value
            for name, value in params.items()
            if name not in {"FilterExpression", "ProjectionExpression"}
        }
        used = re.findall(r"[#:]\w+", str(params["KeyConditionExpression"]))
        for placeholders in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
            kept[placeholders] = {
                name: value
                for name, value in cast("Mapping[str, object]", params[placeholders]).items()
                if name in used
            }
        kept["Limit"] = answer["ScannedCount"]
        query = cast("Callable[..., Mapping[str, object]]", self._plain.query)
        return [
            deserialize_stored(image) for image in cast("Sequence[Image]", query(**kept)["Items"])
        ]

    # -- writes

    def _writes(
        self, operation: str, params: Params
    ) -> Iterator[tuple[str, Table, Mapping[str, object], int]]:
        if operation in _SINGLE_WRITES:
            table = self._tables[str(params["TableName"])]
            yield _SINGLE_WRITES[operation], table, params, 1
        elif operation == "TransactWriteItems":
            for item in cast(
                "Sequence[Mapping[str, Mapping[str, object]]]", params["TransactItems"]
            ):
                for verb, request in item.items():
                    table = self._tables[str(request["TableName"])]
                    yield verb, table, request, _TRANSACTION_FACTOR
        elif operation == "BatchWriteItem":
            requests = cast("Mapping[str, Sequence[Mapping[str, object]]]", params["RequestItems"])
            for name, changes in requests.items():
                for change in changes:
                    for kind, body in change.items():
                        verb = kind.removesuffix("Request")
                        yield verb, self._tables[name], cast("Params", body), 1

    def _item(self, table: Table, verb: str, request: Mapping[str, object]) -> Item | None:
        schema = TABLE_KEYS[table]
        image = cast("Image", request["Item" if verb == "Put" else "Key"])
        (name,) = (name for name, known in self._tables.items() if known is table)
        stored = self._plain.get_item(
            TableName=name,
            Key={
                schema.partition: dict(image[schema.partition]),
                schema.sort: dict(image[schema.sort]),
            },
            ConsistentRead=True,
        ).get("Item")
        return None if stored is None else deserialize_stored(stored)

    def _write_units(self, write: _Write) -> int:
        if write.verb == "Put":
            # Also of a refused one: that is what it asked for.
            after: Item | None = deserialize_stored(cast("Image", write.params["Item"]))
        else:
            after = self._item(write.table, write.verb, write.params)
        size = max(_size(write.before), _size(after), 1)
        stored = self._item(write.table, write.verb, write.params)
        return ceil(size / WRITE_UNIT_BYTES) * write.factor + _index_units(
            write.table, write.before, stored
        )


def _index_units(table: Table, before: Item | None, after: Item | None) -> int:
    units = 0
    for (of_table, index), schema in INDEX_KEYS.items():
        if of_table is not table:
            continue
        base = TABLE_KEYS[table]
        held = INDEX_ATTRIBUTES[table, index] | {
            *(schema.partition, schema.sort),
            *(base.partition, base.sort),
        }
        old, new = (
            (
                {name: value for name, value in item.items() if name in held}
                if item is not None and schema.sort in item
                else None
            )
            for item in (before, after)
        )
        if old != new:
            units += ceil(max(_size(old), _size(new)) / WRITE_UNIT_BYTES)
    return units


def _size(item: Item | None) -> int:
    return 0 if item is None else item_size(item)


def _read(sizes: Sequence[int], *, consistent: bool) -> float:
    units = sum(max(1, ceil(size / READ_UNIT_BYTES)) for size in sizes)
    return units if consistent else units / 2


def _batch_read_units(params: Params, answer: Mapping[str, object]) -> float:
    units = 0.0
    requests = cast("Mapping[str, Mapping[str, object]]", params["RequestItems"])
    found = cast("Mapping[str, Sequence[Image]]", answer["Responses"])
    for name, request in requests.items():
        sizes = [item_size(deserialize_stored(image)) for image in found.get(name, ())]
        absent = len(cast("Sequence[object]", request["Keys"])) - len(sizes)
        units += _read([*sizes, *([0] * absent)], consistent=bool(request.get("ConsistentRead")))
    return units
