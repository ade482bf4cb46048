"""The repository over deployed DynamoDB tables."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, Literal, TypedDict, final
from uuid import uuid4

from commons.aws import dynamodb_client
from commons.aws_errors import THROTTLING
from commons.dal.calls import DynamoDBCalls, MetTransactionError, TransactionInProgressError
from commons.dal.expressions import Expressions
from commons.dal.interface import (
    Condition,
    ConditionCheck,
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
    check_transaction,
    check_update,
    is_empty_range,
    item_key_values,
    key_values,
    query_key,
)
from commons.dynamodb.exceptions import (
    CONDITION_FAILED,
    CONFLICT,
    NO_REASON,
    ObjectNotFoundError,
    RepositoryError,
    StorageBusyError,
    TransactionCanceledError,
)
from commons.settings import TableSettings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        BatchGetItemInputTypeDef,
        BatchGetItemOutputTypeDef,
        BatchWriteItemInputTypeDef,
        BatchWriteItemOutputTypeDef,
        QueryInputTypeDef,
        TransactWriteItemsInputTypeDef,
        TransactWriteItemTypeDef,
        UniversalAttributeValueTypeDef,
        WriteRequestOutputTypeDef,
        WriteRequestTypeDef,
    )

BATCH_GET_KEYS = 100
BATCH_WRITE_KEYS = 25

MAX_ATTEMPTS = 8
"""Of a call that keeps meeting other transactions, or of a batch that makes no headway."""

_BASE_DELAY_SECONDS = 0.02
_MAX_DELAY_SECONDS = 0.5


class DynamoDBRepository:
    """An IRepository over the deployed tables.

    A conditional put that botocore repeats after a lost answer fails against its own write, so a
    ConditionFailedError always carries the item that is there: a writer recognises its own.

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
        conditional = _conditional(Expressions(), condition)
        self._write(
            lambda client: client.put_item(
                TableName=self._name(table), Item=serialize_item(item), **conditional
            )
        )

    def update(
        self, table: Table, key: Key, update: Update, *, condition: Condition | None = None
    ) -> Item:
        key_values(table, key)
        check_update(table, update)
        expressions = Expressions()
        changes = expressions.update(update)
        conditional = _conditional(expressions, condition)
        answer = self._write(
            lambda client: client.update_item(
                TableName=self._name(table),
                Key=serialize_item(key),
                ReturnValues="ALL_NEW",
                UpdateExpression=changes,
                **conditional,
            )
        )
        return deserialize(answer["Attributes"])

    def delete(self, table: Table, key: Key, *, condition: Condition | None = None) -> Item | None:
        key_values(table, key)
        conditional = _conditional(Expressions(), condition)
        answer = self._write(
            lambda client: client.delete_item(
                TableName=self._name(table),
                Key=serialize_item(key),
                ReturnValues="ALL_OLD",
                **conditional,
            )
        )
        image = answer.get("Attributes")
        return deserialize(image) if image else None

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
        request["ExpressionAttributeNames"] = expressions.names
        request["ExpressionAttributeValues"] = expressions.values
        answer = self._dynamodb.call(lambda client: client.query(**request))
        last = answer.get("LastEvaluatedKey")
        return Page(
            [deserialize(image) for image in answer["Items"]],
            deserialize_key(last) if last else None,
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
        items = [self._transact_item(write) for write in writes]
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
                _raise_unless_transient(error)
                # Cancelled for good: the next attempt is another transaction.
                token = str(uuid4())
            else:
                return
        raise StorageBusyError("a transaction kept meeting others, or was throttled")

    def _transact_item(self, write: Write) -> "TransactWriteItemTypeDef":
        name = self._name(write.table)
        expressions = Expressions()
        match write:
            case PutWrite():
                return {
                    "Put": {
                        "TableName": name,
                        "Item": serialize_item(write.item),
                        **_conditional(expressions, write.condition),
                    }
                }
            case UpdateWrite():
                changes = expressions.update(write.update)
                return {
                    "Update": {
                        "TableName": name,
                        "Key": serialize_item(write.key),
                        "UpdateExpression": changes,
                        **_conditional(expressions, write.condition),
                    }
                }
            case DeleteWrite():
                return {
                    "Delete": {
                        "TableName": name,
                        "Key": serialize_item(write.key),
                        **_conditional(expressions, write.condition),
                    }
                }
            case ConditionCheck():
                return {
                    "ConditionCheck": {
                        "TableName": name,
                        "Key": serialize_item(write.key),
                        "ConditionExpression": expressions.condition(write.condition),
                        **_placeholders(expressions),
                        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }
                }

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


@final
class _Conditional(TypedDict, total=False):
    ConditionExpression: str
    ReturnValuesOnConditionCheckFailure: Literal["ALL_OLD"]
    ExpressionAttributeNames: "Mapping[str, str]"
    ExpressionAttributeValues: "Mapping[str, AttributeValueTypeDef]"


def _conditional(expressions: Expressions, condition: Condition | None) -> _Conditional:
    """The last piece of a request: it brings the placeholders of all its expressions."""
    if condition is None:
        return _placeholders(expressions)
    expression = expressions.condition(condition)
    return {
        "ConditionExpression": expression,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        **_placeholders(expressions),
    }


def _placeholders(expressions: Expressions) -> _Conditional:
    """DynamoDB refuses empty maps and placeholders that nothing uses."""
    placeholders: _Conditional = {}
    if expressions.names:
        placeholders["ExpressionAttributeNames"] = expressions.names
    if expressions.values:
        placeholders["ExpressionAttributeValues"] = expressions.values
    return placeholders


def _raise_unless_transient(error: TransactionCanceledError) -> None:
    """Returns where only other transactions or throttling stood in the way."""
    codes = {reason.code for reason in error.reasons} - {NO_REASON}
    if CONDITION_FAILED in codes:
        raise error
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
