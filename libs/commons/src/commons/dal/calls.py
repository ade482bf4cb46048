"""Calls of DynamoDB, whose failures leave in the repository's own errors only."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypedDict, cast, final
from zlib import crc32

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from commons.aws_errors import AWS_ERRORS, AwsError, error_code, storage_error
from commons.dal.interface import Item
from commons.dal.serialisation import deserialize_stored
from commons.dynamodb.exceptions import (
    NO_REASON,
    CancellationReason,
    ConditionFailedError,
    RepositoryError,
    StorageBusyError,
    TransactionCanceledError,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_CONDITION_FAILED: Final = "ConditionalCheckFailedException"
_CANCELLED: Final = "TransactionCanceledException"
_CONFLICT: Final = "TransactionConflictException"
_IN_PROGRESS: Final = "TransactionInProgressException"
_CHECKSUM: Final = "x-amz-crc32"
_OK: Final = 200


class _Answer(TypedDict):
    """An answer as botocore has it before it parses it; `headers` are in no case."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


class MetTransactionError(StorageBusyError):
    """A single write met a transaction: nothing was written."""


class TransactionInProgressError(StorageBusyError):
    """A transaction with this token is being made right now."""


@final
class DynamoDBCalls:
    """Holds the client, so that no call goes round `call`."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client = client
        client.meta.events.register(
            "before-parse.dynamodb", _require_whole_answer, unique_id="whole answers"
        )

    def call[Answer](self, operation: "Callable[[DynamoDBClient], Answer]") -> Answer:
        """What the operation answers.

        Raises:
            ConditionFailedError: with the item that is there, where the call asked for it; here
                items still have their write ids.
            TransactionCanceledError: whatever the reasons are.
            StorageUnavailableError: it was not served; MetTransactionError and
                TransactionInProgressError say that by another transaction.
            RepositoryError: it was refused, or cannot be asked.
        """
        try:
            return operation(self._client)
        except AWS_ERRORS as error:
            raise _translated(error) from error


def _require_whole_answer(response_dict: _Answer, **_: object) -> None:
    """Refuses a body that broke off: botocore reads it as an empty one, an item that is not there.

    Raises:
        ResponseParserError: the body is not the one that DynamoDB sent, or no JSON.
    """
    body = response_dict["body"]
    if response_dict["status_code"] != _OK:
        return
    if checksum := response_dict["headers"].get(_CHECKSUM):
        is_whole = checksum == str(crc32(body))
    else:
        is_whole = _is_json(body)
    if not is_whole:
        raise ResponseParserError


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _translated(error: AwsError) -> RepositoryError:
    if isinstance(error, ClientError):
        match error_code(error):
            case code if code == _CONDITION_FAILED:
                return ConditionFailedError(_item_of(error.response))
            case code if code == _CANCELLED:
                return TransactionCanceledError(_reasons(error))
            case code if code == _CONFLICT:
                return MetTransactionError("a write met a transaction")
            case code if code == _IN_PROGRESS:
                return TransactionInProgressError("the transaction is being made")
    return storage_error("DynamoDB", error)


def _reasons(error: ClientError) -> list[CancellationReason]:
    # botocore adds an error's own fields to the answer; its stubs do not know them.
    answer = cast("Mapping[str, object]", error.response)
    reasons = cast("Sequence[Mapping[str, object]]", answer.get("CancellationReasons", ()))
    return [
        CancellationReason(str(reason.get("Code", NO_REASON)), _item_of(reason))
        for reason in reasons
    ]


def _item_of(answer: Mapping[str, object]) -> Item | None:
    image = cast("Mapping[str, Mapping[str, object]] | None", answer.get("Item"))
    return deserialize_stored(image) if image else None
