"""API Gateway's management API, as far as a handshake needs it."""

from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from commons.observability import log

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

# Up to 200 connections are looked at while a client waits for its handshake.
_CONFIG = Config(
    connect_timeout=1,
    read_timeout=1,
    retries={"mode": "standard", "total_max_attempts": 2},
    max_pool_connections=16,
)


class ApiGatewayProbe:
    """Finds out which connections are open; threads may share it.

    Args:
        callback_url: `https://…/{stage}`, without a slash at the end.
    """

    def __init__(self, callback_url: str) -> None:
        self._callback_url = callback_url

    @cached_property
    def _client(self) -> "ApiGatewayManagementApiClient":
        return boto3.client(
            "apigatewaymanagementapi", endpoint_url=self._callback_url, config=_CONFIG
        )

    def is_open(self, connection_id: str) -> bool:
        """As the gateway says; where it does not answer, the connection is taken for open."""
        try:
            self._client.get_connection(ConnectionId=connection_id)
        except self._client.exceptions.GoneException:
            return False
        except (ClientError, BotoCoreError) as error:
            log.warning("connection not looked at", error=type(error).__name__)
        return True
