"""The repository over deployed DynamoDB tables."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING
from uuid import uuid4

from commons.aws import dynamodb_client
from commons.aws_errors import THROTTLING
from commons.dal.calls import DynamoDBCalls, MetTransactionError, TransactionInProgressError
from commons.dal.expressions import Expressions
from commons.dal.interface import (
    Condition,
    DeleteWrite,
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
from commons.dal.serialisation import deserialize, deserialize_key, serialize_item
from commons.dal.validation import (
    check_distinct,
    check_item,
    check_transaction,
    check_update,
    is_empty_range,
    item_key_values,
    key_values,
    query_key,
)
from commons.dal.write_ids import new_write_id, without_write_ids, wrote
from commons.dal.write_requests import put_request, transaction_item, update_request
from commons.dynamodb.exceptions import (
    CONDITION_FAILED,
    CONFLICT,
    NO_REASON,
    CancellationReason,
    ConditionFailedError,
    ObjectNotFoundError,
    RepositoryError,
    StorageBusyError,
    TransactionCanceledError,
)
from commons.settings import TableSettings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        BatchGetItemInputTypeDef,
        BatchGetItemOutputTypeDef,
        BatchWriteItemInputTypeDef,
        BatchWriteItemOutputTypeDef,
        QueryInputTypeDef,
        QueryOutputTypeDef,
        TransactWriteItemsInputTypeDef,
        UniversalAttributeValueTypeDef,
        WriteRequestOutputTypeDef,
        WriteRequestTypeDef,
    )

BATCH_GET_KEYS = 100
BATCH_WRITE_KEYS = 25

READ_UNIT_BYTES = 4 * 1024
"""What one unit reads consistently; twice that otherwise."""

MAX_ATTEMPTS = 8
"""Of a call that keeps meeting other transactions, or of a batch that makes no headway."""

_BASE_DELAY_SECONDS = 0.02
_MAX_DELAY_SECONDS = 0.5


class DynamoDBRepository:
    """An IRepository over the deployed tables.

    A write that is repeated after its answer was lost succeeds without being made again (see
    write_ids).

    Args:
        table_names: the deployed names; by default those of the environment (TableSettings).
        client: by default the warm function's shared one.
        sleep: waits so many seconds between attempts.
    """

    def __init__(
        self,
        table_names: Mapping[Table, str] | None = None,
        *,
        client: "DynamoDBClient | None" = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table_names = table_names if table_names is not None else _configured_names()
        self._dynamodb = DynamoDBCalls(client if client is not None else dynamodb_client())
        self._sleep = sleep

    def get(self, table: Table, key: Key, *, consistent: bool = False) -> Item:
        item = self.find(table, key, consistent=consistent)
        if item is None:
            raise ObjectNotFoundError(table, key)
        return item

    def find(self, table: Table, key: Key, *, consistent: bool = False) -> Item | None:
        key_values(table, key)
        name, image_key = self._name(table), serialize_item(key)
        answer = self._dynamodb.call(
            lambda client: client.get_item(TableName=name, Key=image_key, ConsistentRead=consistent)
        )
        image = answer.get("Item")
        return None if image is None else deserialize(image)

    def batch_get(
        self, table: Table, keys: Sequence[Key], *, consistent: bool = False
    ) -> list[Item]:
        check_distinct(table, keys)
        name = self._name(table)
        items: list[Item] = []
        for chunk in batched(keys, BATCH_GET_KEYS):
            pending: Sequence[Mapping[str, UniversalAttributeValueTypeDef]] = [
                serialize_item(key) for key in chunk
            ]
            attempt = 0
            while pending:
                self._back_off(attempt)
                request: BatchGetItemInputTypeDef = {
                    "RequestItems": {name: {"Keys": pending, "ConsistentRead": consistent}}
                }
                answer = self._dynamodb.call(partial(_batch_get, request))
                items += [deserialize(image) for image in answer["Responses"].get(name, [])]
                unprocessed = answer.get("UnprocessedKeys", {}).get(name)
                left = unprocessed["Keys"] if unprocessed is not None else []
                attempt = _next_attempt(attempt, headway=len(left) < len(pending))
                pending = left
        return items

    def put(self, table: Table, item: Item, *, condition: Condition | None = None) -> None:
        item_key_values(table, item)
        check_item(item)
        write_id = new_write_id()
        request = put_request(self._name(table), PutWrite(table, item, condition), write_id)
        try:
            self._write(lambda client: client.put_item(**request))
        except ConditionFailedError as error:
            _own_item(error, write_id)

    def update(
        self, table: Table, key: Key, update: Update, *, condition: Condition | None = None
    ) -> Item:
        key_values(table, key)
        check_update(table, update)
        write_id = new_write_id()
        write = UpdateWrite(table, key, update, condition)
        request = update_request(self._name(table), write, write_id)
        try:
            answer = self._write(
                lambda client: client.update_item(**request, ReturnValues="ALL_NEW")
            )
        except ConditionFailedError as error:
            return _own_item(error, write_id)
        return deserialize(answer["Attributes"])

    def delete(self, table: Table, key: Key, *, condition: Condition | None = None) -> None:
        image_key = serialize_item(key)
        key_values(table, key)
        if condition is None:
            name = self._name(table)
            self._write(lambda client: client.delete_item(TableName=name, Key=image_key))
            return
        # A deleted item remembers nothing. DynamoDB knows a repeated transaction by its token.
        try:
            self.transact([DeleteWrite(table, key, condition)])
        except TransactionCanceledError as error:
            (reason,) = error.reasons
            raise ConditionFailedError(reason.item) from error

    def _write[Answer](self, operation: "Callable[[DynamoDBClient], Answer]") -> Answer:
        """Repeats a single write that met a transaction: nothing was written then."""
        for attempt in range(MAX_ATTEMPTS):
            self._back_off(attempt)
            with suppress(MetTransactionError):
                return self._dynamodb.call(operation)
        raise StorageBusyError("a write kept meeting transactions")

    def batch_delete(self, table: Table, keys: Sequence[Key]) -> None:
        name = self._name(table)
        distinct = {key_values(table, key): key for key in keys}
        for chunk in batched(distinct.values(), BATCH_WRITE_KEYS):
            pending: Sequence[WriteRequestOutputTypeDef | WriteRequestTypeDef] = [
                {"DeleteRequest": {"Key": serialize_item(key)}} for key in chunk
            ]
            attempt = 0
            while pending:
                self._back_off(attempt)
                request: BatchWriteItemInputTypeDef = {"RequestItems": {name: pending}}
                answer = self._dynamodb.call(partial(_batch_write, request))
                left = answer.get("UnprocessedItems", {}).get(name, [])
                attempt = _next_attempt(attempt, headway=len(left) < len(pending))
                pending = left

    def query(self, query: Query) -> Page:
        schema = query_key(query)
        if is_empty_range(query):
            return Page([])
        expressions = Expressions()
        request: QueryInputTypeDef = {
            "TableName": self._name(query.table),
            "KeyConditionExpression": expressions.key_condition(
                schema, query.partition, query.sort
            ),
            "ScanIndexForward": query.ascending,
        }
        if query.index is not None:
            request["IndexName"] = query.index
        else:
            request["ConsistentRead"] = query.consistent
        if query.limit is not None:
            request["Limit"] = query.limit
        if query.start_after is not None:
            request["ExclusiveStartKey"] = serialize_item(query.start_after)
        if query.where is not None:
            request["FilterExpression"] = expressions.condition(query.where)
        if query.attributes is not None:
            request["ProjectionExpression"] = expressions.projection(query.attributes)
        if query.measured:
            request["ReturnConsumedCapacity"] = "TOTAL"
        request["ExpressionAttributeNames"] = expressions.names
        request["ExpressionAttributeValues"] = expressions.values
        answer = self._dynamodb.call(lambda client: client.query(**request))
        last = answer.get("LastEvaluatedKey")
        return Page(
            [deserialize(image) for image in answer["Items"]],
            deserialize_key(last) if last else None,
            _bytes_read(query, answer),
        )

    def iterate(self, query: Query) -> Iterator[Item]:
        while True:
            page = self.query(query)
            yield from page.items
            if page.last_key is None:
                return
            query = replace(query, start_after=page.last_key)

    def transact(self, writes: Sequence[Write]) -> None:
        check_transaction(writes)
        write_id = new_write_id()
        items = [transaction_item(self._name(each.table), each, write_id) for each in writes]
        token = str(uuid4())
        for attempt in range(MAX_ATTEMPTS):
            self._back_off(attempt)
            request: TransactWriteItemsInputTypeDef = {
                "TransactItems": items,
                "ClientRequestToken": token,
            }
            try:
                self._dynamodb.call(partial(_transact, request))
            except TransactionInProgressError:
                continue
            except TransactionCanceledError as error:
                if any(wrote(write_id, reason.item) for reason in error.reasons):
                    # All of it was written, by an attempt whose answer was lost.
                    return
                _raise_unless_transient(error)
                # Cancelled for good: the next attempt is another transaction.
                token = str(uuid4())
            else:
                return
        raise StorageBusyError("a transaction kept meeting others, or was throttled")

    def _name(self, table: Table) -> str:
        name = self._table_names.get(table)
        if not name:
            raise RepositoryError(
                f"this function has no {table} table: {table.upper()}_TABLE is not set"
            )
        return name

    def _back_off(self, attempt: int) -> None:
        """Full jitter: writers that met once do not meet again in step."""
        if attempt:
            ceiling = min(_MAX_DELAY_SECONDS, _BASE_DELAY_SECONDS * 2**attempt)
            self._sleep(random.uniform(0, ceiling))  # noqa: S311  # spreads load, guards nothing


def _configured_names() -> Mapping[Table, str]:
    settings = TableSettings()
    return {
        Table.CHAT_EVENTS: settings.chat_events_table,
        Table.CHANNELS: settings.channels_table,
        Table.CONNECTIONS: settings.connections_table,
    }


def _next_attempt(attempt: int, *, headway: bool) -> int:
    if headway:
        return 1
    if attempt + 1 == MAX_ATTEMPTS:
        raise StorageBusyError("a batch makes no headway")
    return attempt + 1


def _bytes_read(query: Query, answer: "QueryOutputTypeDef") -> int:
    units = answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
    return int(units * READ_UNIT_BYTES * (1 if query.consistent else 2))


def _own_item(error: ConditionFailedError, write_id: str) -> Item:
    """The item, where the refusal shows that this very write was made before.

    Raises:
        ConditionFailedError: it was not; without write ids.
    """
    item = None if error.item is None else without_write_ids(error.item)
    if item is None or not wrote(write_id, error.item):
        raise ConditionFailedError(item) from error
    return item


def _raise_unless_transient(error: TransactionCanceledError) -> None:
    """Returns where only other transactions or throttling stood in the way."""
    codes = {reason.code for reason in error.reasons} - {NO_REASON}
    if CONDITION_FAILED in codes:
        reasons = [
            CancellationReason(
                reason.code, None if reason.item is None else without_write_ids(reason.item)
            )
            for reason in error.reasons
        ]
        raise TransactionCanceledError(reasons) from error
    if not codes or not codes <= THROTTLING | {CONFLICT}:
        raise RepositoryError(
            f"DynamoDB refused the transaction: {', '.join(sorted(codes))}"
        ) from error


def _batch_get(
    request: "BatchGetItemInputTypeDef", client: "DynamoDBClient"
) -> "BatchGetItemOutputTypeDef":
    return client.batch_get_item(**request)


def _batch_write(
    request: "BatchWriteItemInputTypeDef", client: "DynamoDBClient"
) -> "BatchWriteItemOutputTypeDef":
    return client.batch_write_item(**request)


def _transact(request: "TransactWriteItemsInputTypeDef", client: "DynamoDBClient") -> None:
    client.transact_write_items(**request)
