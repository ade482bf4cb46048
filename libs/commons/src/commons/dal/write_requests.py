"""Puts, updates, deletions and checks as DynamoDB takes them, alone or in a transaction.

Each asks for the item that is there where it is refused, and each put and update refuses to meet its
own write id (see write_ids).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypedDict, final

from commons.dal.expressions import Expressions
from commons.dal.interface import (
    ConditionCheck,
    DeleteWrite,
    PutWrite,
    UpdateWrite,
    Write,
)
from commons.dal.serialisation import serialize_item
from commons.dal.write_ids import PUT_ID

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        DeleteTypeDef,
        PutTypeDef,
        TransactWriteItemTypeDef,
        UpdateTypeDef,
    )


def put_request(table_name: str, write: PutWrite, write_id: str) -> "PutTypeDef":
    expressions = Expressions()
    condition = expressions.unless_put(write_id, write.condition)
    return {
        "TableName": table_name,
        "Item": serialize_item({**write.item, PUT_ID: write_id}),
        **_conditional(expressions, condition),
    }


def update_request(table_name: str, write: UpdateWrite, write_id: str) -> "UpdateTypeDef":
    expressions = Expressions()
    changes = expressions.update(write.update, write_id)
    condition = expressions.unless_updated(write_id, write.condition)
    return {
        "TableName": table_name,
        "Key": serialize_item(write.key),
        "UpdateExpression": changes,
        **_conditional(expressions, condition),
    }


def transaction_item(table_name: str, write: Write, write_id: str) -> "TransactWriteItemTypeDef":
    match write:
        case PutWrite():
            return {"Put": put_request(table_name, write, write_id)}
        case UpdateWrite():
            return {"Update": update_request(table_name, write, write_id)}
        case DeleteWrite():
            return {"Delete": _delete_request(table_name, write)}
        case ConditionCheck():
            expressions = Expressions()
            condition = expressions.condition(write.condition)
            return {
                "ConditionCheck": {
                    "TableName": table_name,
                    "Key": serialize_item(write.key),
                    "ConditionExpression": condition,
                    **_conditional(expressions, condition),
                }
            }


def _delete_request(table_name: str, write: DeleteWrite) -> "DeleteTypeDef":
    if write.condition is None:
        return {"TableName": table_name, "Key": serialize_item(write.key)}
    expressions = Expressions()
    condition = expressions.condition(write.condition)
    return {
        "TableName": table_name,
        "Key": serialize_item(write.key),
        **_conditional(expressions, condition),
    }


@final
class _Conditional(TypedDict, total=False):
    ConditionExpression: str
    ReturnValuesOnConditionCheckFailure: Literal["ALL_OLD"]
    ExpressionAttributeNames: Mapping[str, str]
    ExpressionAttributeValues: "Mapping[str, AttributeValueTypeDef]"


def _conditional(expressions: Expressions, condition: str) -> _Conditional:
    """The last piece of a request: it brings the placeholders of all its expressions."""
    conditional: _Conditional = {
        "ConditionExpression": condition,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        "ExpressionAttributeNames": expressions.names,
    }
    if expressions.values:
        # DynamoDB refuses an empty map.
        conditional["ExpressionAttributeValues"] = expressions.values
    return conditional
