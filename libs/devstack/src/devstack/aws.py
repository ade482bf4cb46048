"""Clients and environment that reach the emulator and nothing else."""

import os
from typing import TYPE_CHECKING

import boto3

from devstack.config import REGION

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


SECRETS = frozenset({"CHAT_MODEL_KEY"})
"""Variables of this process that no other gets."""


def environment(endpoint: str) -> dict[str, str]:
    """This process's environment without any AWS account, for the commands that deploy."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in SECRETS
        and (not name.startswith(("AWS_", "SAM_")) or name == "AWS_CA_BUNDLE")
    }
    return {
        **inherited,
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "0.3",
    }


class AwsClients:
    """Clients of one emulator, each built when it is asked for.

    Args:
        endpoint: the emulator's URL; None: the AWS account that this shell is signed in to.
        region: of that account; None: the shell's.
    """

    def __init__(self, endpoint: str | None, *, region: str | None = None) -> None:
        self._endpoint = endpoint
        self._session = (
            boto3.session.Session(region_name=region)
            if endpoint is None
            else boto3.session.Session(
                aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                region_name=REGION,
            )
        )
        self._open: list[BaseClient] = []

    def close(self) -> None:
        """Lets go of every connection: the emulator waits seconds at its end for those kept alive."""
        while self._open:
            self._open.pop().close()

    def _keep[Client: "BaseClient"](self, client: Client) -> Client:
        self._open.append(client)
        return client

    def cloudformation(self) -> "CloudFormationClient":
        return self._keep(self._session.client("cloudformation", endpoint_url=self._endpoint))

    def ssm(self) -> "SSMClient":
        return self._keep(self._session.client("ssm", endpoint_url=self._endpoint))

    def cognito(self) -> "CognitoIdentityProviderClient":
        return self._keep(self._session.client("cognito-idp", endpoint_url=self._endpoint))

    def dynamodb(self) -> "DynamoDBClient":
        """For the repository only."""
        return self._keep(self._session.client("dynamodb", endpoint_url=self._endpoint))

    def streams(self) -> "DynamoDBStreamsClient":
        return self._keep(self._session.client("dynamodbstreams", endpoint_url=self._endpoint))

    def functions(self) -> "LambdaClient":
        return self._keep(self._session.client("lambda", endpoint_url=self._endpoint))

    def logs(self) -> "CloudWatchLogsClient":
        return self._keep(self._session.client("logs", endpoint_url=self._endpoint))

    def sqs(self) -> "SQSClient":
        return self._keep(self._session.client("sqs", endpoint_url=self._endpoint))

    def secrets(self) -> "SecretsManagerClient":
        return self._keep(self._session.client("secretsmanager", endpoint_url=self._endpoint))

    def connections(self, callback_url: str) -> "ApiGatewayManagementApiClient":
        return self._keep(
            self._session.client("apigatewaymanagementapi", endpoint_url=callback_url)
        )
