"""SSM's parameters, as far as this function reads them."""

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from commons.aws_errors import AWS_ERRORS, storage_error

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

_CONFIG = Config(
    connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 3}
)


@cache
def _client() -> "SSMClient":
    return boto3.client("ssm", config=_CONFIG)


def stored_parameter(name: str) -> str:
    """The parameter's text.

    Raises:
        StorageUnavailableError: SSM did not serve it.
        RepositoryError: it refused to, or there is no such parameter.
    """
    try:
        return _client().get_parameter(Name=name)["Parameter"]["Value"]
    except AWS_ERRORS as error:
        raise storage_error("SSM", error) from error
