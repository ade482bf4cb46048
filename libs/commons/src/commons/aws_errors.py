"""How AWS fails, in the errors of the storage layer."""

from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own; Python's is not used here
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
)
from botocore.parsers import ResponseParserError

from commons.dynamodb.exceptions import (
    RepositoryError,
    StorageBusyError,
    StorageUnreachableError,
)

type AwsError = ClientError | BotoCoreError | ResponseParserError

AWS_ERRORS: Final = (ClientError, BotoCoreError, ResponseParserError)
"""Whatever a boto3 client raises by itself; its waits and repeats are over by then."""

THROTTLING: Final = frozenset(
    {
        "LimitExceededException",
        "OverLimit",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
_TIMEOUTS: Final = frozenset({"RequestTimeout", "RequestTimeoutException"})
_TRANSPORT: Final = (
    ChecksumError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    ResponseParserError,
)
_SERVER_ERRORS: Final = 500


def error_code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def storage_error(service: str, error: AwsError) -> RepositoryError:
    """What to raise in its place; AWS's own text, which may quote an item, is left out."""
    if isinstance(error, _TRANSPORT):
        return StorageUnreachableError(f"{service} is not to be reached: {type(error).__name__}")
    if not isinstance(error, ClientError):
        return RepositoryError(f"{service} was not asked: {type(error).__name__}")
    code = error_code(error)
    if code in THROTTLING:
        return StorageBusyError(f"{service} throttles: {code}")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= _SERVER_ERRORS or code in _TIMEOUTS:
        return StorageUnreachableError(f"{service} failed: {code}")
    return RepositoryError(f"{service} refused the call: {code}")
