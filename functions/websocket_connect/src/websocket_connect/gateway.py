"""API Gateway's management API, as far as a handshake needs it."""

from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

# Up to 200 connections are looked at while a client waits for its handshake.
_CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 3},
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
        try:
            self._client.get_connection(ConnectionId=connection_id)
        except self._client.exceptions.GoneException:
            return False
        return True
