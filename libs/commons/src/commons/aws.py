"""AWS clients of a warm function: built at first use, then shared."""

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

# A DynamoDB or SQS call takes milliseconds: one that takes seconds is lost, and is tried again
# while the caller still waits (API Gateway gives up after 29 s).
_CONFIG = Config(
    connect_timeout=1,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=50,
)


@cache
def dynamodb_client() -> "DynamoDBClient":
    return boto3.client("dynamodb", config=_CONFIG)


@cache
def sqs_client() -> "SQSClient":
    return boto3.client("sqs", config=_CONFIG)


@cache
def secretsmanager_client() -> "SecretsManagerClient":
    return boto3.client("secretsmanager", config=_CONFIG)
