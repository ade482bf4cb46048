"""The function that calls tools, as the worker asks it (docs/adr/0046)."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
)
from pydantic import ValidationError

from commons.observability import log
from commons.records.tool import ToolCallRecord
from workers_agent.schemas import ToolAnswer, ToolRequest

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

CONNECT_SECONDS: Final = 5.0
START_SECONDS: Final = 15.0
"""What the function takes beyond the call itself, cold."""

MAX_CALLS_AT_ONCE: Final = 80
"""Ten replies with eight calls each."""

_SERVER_ERROR: Final = 500
_NEVER_MADE: Final = (
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
)


class CallUnknownError(Exception):
    """Nobody knows whether the call was made."""


class IToolFunction(Protocol):
    """Makes calls of tools."""

    async def call(self, call: ToolCallRecord) -> ToolAnswer:
        """Makes the call, once. Whoever cancels this does not stop it.

        Raises:
            CallUnknownError: the answer is lost, and with it whether the call was made.
        """
        ...


class NoTools:
    """IToolFunction of a stack that has none."""

    async def call(self, call: ToolCallRecord) -> ToolAnswer:  # noqa: ARG002
        return _down("This stack has no tools.")


class LambdaToolFunction:
    """IToolFunction over Lambda. It is asked once: a second time could be a second call.

    Args:
        name: the function's name or ARN.
        seconds: for a call.
    """

    def __init__(self, name: str, *, seconds: float, client: "LambdaClient | None" = None) -> None:
        self._name = name
        self._seconds = seconds
        self._client = client if client is not None else _client(seconds)
        # Apart from the other threads: calls that hang must not hold up heartbeats.
        self._threads = ThreadPoolExecutor(MAX_CALLS_AT_ONCE, thread_name_prefix="tool")

    async def call(self, call: ToolCallRecord) -> ToolAnswer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._invoke, call)

    def _invoke(self, call: ToolCallRecord) -> ToolAnswer:
        server, _, tool = call.tool.partition(".")
        request = ToolRequest(
            server=server,
            tool=tool,
            arguments=call.parsed_arguments,
            call_id=call.call_id,
            timeout_seconds=self._seconds,
        )
        try:
            response = self._client.invoke(
                FunctionName=self._name,
                InvocationType="RequestResponse",
                Payload=request.to_json().encode(),
            )
            body = response["Payload"].read()
        except ClientError as error:
            return _refused(error)
        except _NEVER_MADE as error:
            log.warning("tools' function not reached", error=type(error).__name__)
            return _down("The tools cannot be reached.")
        except (BotoCoreError, OSError) as error:
            log.warning("answer of the tools' function lost", error=type(error).__name__)
            raise CallUnknownError from None
        if kind := response.get("FunctionError"):
            log.warning("tools' function failed", kind=kind)
            raise CallUnknownError
        try:
            return ToolAnswer.model_validate_json(body)
        except ValidationError:
            # Not the exception's text: it quotes the result.
            log.error("answer of the tools' function cannot be read")
            raise CallUnknownError from None


def _client(seconds: float) -> "LambdaClient":
    return boto3.client(
        "lambda",
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=seconds + START_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=MAX_CALLS_AT_ONCE,
        ),
    )


def _refused(error: ClientError) -> ToolAnswer:
    """What Lambda turned away was not made; what failed in its hands may have been.

    Raises:
        CallUnknownError: the latter.
    """
    metadata = error.response.get("ResponseMetadata")
    status = metadata["HTTPStatusCode"] if metadata is not None else _SERVER_ERROR
    log.warning("tools' function refused", code=error.response["Error"].get("Code"), status=status)
    if status >= _SERVER_ERROR:
        raise CallUnknownError from None
    return _down("The tools cannot be reached.")


def _down(text: str) -> ToolAnswer:
    return ToolAnswer(outcome="error", text=text, reason="unreachable")
