"""Calls a tool, once."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from mcp_types import CallToolResult

from commons import keys
from commons.clock import epoch_seconds
from commons.dal import IRepository, Table
from commons.dynamodb.exceptions import RepositoryError
from commons.observability import count_unhandled, log, metrics
from commons.records.tool import OfferedTool, ToolServerRecord
from commons.services.base import BaseService
from workers_tools.configuration import Configuration
from workers_tools.contents import shown, text_of, without
from workers_tools.conversation import Peer, ToolFailedError
from workers_tools.edge import EdgeError
from workers_tools.schemas import CallAnswer, CallRequest, Reason
from workers_tools.servers import ToolServer, ToolServersError

NOT_OFFERED: Final = "The tool is not offered. The call was not made."
NOT_NOW: Final = "Tools cannot be called now. The call was not made."


class ICalls(Protocol):
    """Makes a call."""

    async def call(
        self,
        peer: Peer,
        tool: str,
        arguments: dict[str, Any],
        *,
        input_schema: str,
        call_id: str,
        seconds: float,
    ) -> CallToolResult:
        """Makes it, once at most.

        Raises:
            ToolFailedError: the server answers an error.
            EdgeError: there is no answer, or none that can be taken.
        """
        ...


class CallingService(BaseService):
    """Calls tools that the stack offers, and answers whatever happens.

    Args:
        configuration: the stack's servers.
        conversations: speaks to them.
        seconds: for a call.
        shown_bytes: of a result.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        configuration: Configuration,
        conversations: ICalls,
        seconds: float,
        shown_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(repository)
        self._configuration = configuration
        self._conversations = conversations
        self._seconds = seconds
        self._shown_bytes = shown_bytes
        self._clock = clock

    def call(self, request: CallRequest) -> CallAnswer:
        """Makes the call, once at most, and says what came of it."""
        started = self._clock()
        answer = self._answer(request)
        metrics.add_metric(name="ToolCalled", unit="Count", value=1)
        if answer.reason is not None and answer.reason != "tool_error":
            metrics.add_metric(name="ToolFailed", unit="Count", value=1)
        log.info(
            "tool called",
            extra={
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": f"{request.server}.{request.tool}",
                "gen_ai.tool.call.id": request.call_id,
                "error.type": answer.reason,
            },
            outcome=answer.outcome,
            milliseconds=round((self._clock() - started) * 1_000),
        )
        return answer

    def _answer(self, request: CallRequest) -> CallAnswer:
        try:
            server = self._server(request.server)
            tool = None if server is None else self._offered(server, request.tool)
            token = "" if server is None else self._configuration.token(server)
        except (RepositoryError, ToolServersError) as error:
            log.error("tools not to be called", error=type(error).__name__, detail=str(error))
            count_unhandled()
            return self._failed("unreachable", NOT_NOW)
        if server is None or tool is None:
            return self._failed("unreachable", NOT_OFFERED)
        try:
            result = asyncio.run(
                self._conversations.call(
                    Peer(server.url, token),
                    request.tool,
                    request.arguments,
                    input_schema=tool.input_schema,
                    call_id=request.call_id,
                    seconds=min(request.timeout_seconds or self._seconds, self._seconds),
                )
            )
        except EdgeError as error:
            return self._failed(error.reason, error.text)
        except ToolFailedError as error:
            return self._failed("tool_error", without(token, error.text))
        text = shown(without(token, text_of(result)), self._shown_bytes)
        return CallAnswer(
            outcome="error" if result.is_error else "ok",
            text=text.text,
            truncated=text.truncated,
            reason="tool_error" if result.is_error else None,
        )

    def _server(self, name: str) -> ToolServer | None:
        servers = self._configuration.servers()
        return next((server for server in servers if server.name == name), None)

    def _offered(self, server: ToolServer, name: str) -> OfferedTool | None:
        """As the catalogue has it, which is what was shown to whoever approved the call."""
        row = self.repository.find(Table.CHANNELS, keys.tool_server_key(server.name))
        if row is None or not server.offers(name):
            return None
        record = ToolServerRecord.model_validate(row)
        if record.is_past(epoch_seconds()):
            return None
        return next((tool for tool in record.tools if tool.name == name), None)

    def _failed(self, reason: Reason, text: str) -> CallAnswer:
        cut = shown(text, self._shown_bytes)
        return CallAnswer(outcome="error", text=cut.text, truncated=cut.truncated, reason=reason)
