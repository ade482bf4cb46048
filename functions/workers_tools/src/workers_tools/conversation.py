"""One conversation with an MCP server, by the SDK, over a guarded way out."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    CONNECTION_CLOSED,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    InputRequiredResult,
    PaginatedRequestParams,
    Tool,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter, ValidationError

from workers_tools.edge import (
    CALL,
    CONNECT_SECONDS,
    EdgeError,
    GuardedTransport,
    Resolve,
    resolve,
)
from workers_tools.schemas import Reason
from workers_tools.servers import ToolNetwork

END_SECONDS: Final = 2.0
"""For telling a server that its session is over; the result is there by then."""

MAX_PAGES: Final = 16

_ARGUMENT_HEADER: Final = "x-mcp-header"
_US: Final = Implementation(name="chat-backend", version="1")
_RESULT: Final[TypeAdapter[CallToolResult | InputRequiredResult]] = TypeAdapter(
    CallToolResult | InputRequiredResult
)


class ToolFailedError(Exception):
    """The tool, or its server in its name, says that the call failed.

    Attributes:
        text: in the server's words.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


@dataclass(frozen=True, slots=True)
class Peer:
    """A server, and what it is told to know us by.

    Attributes:
        token: its bearer token; empty: it asks for none.
    """

    url: str
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversations:
    """How conversations are held.

    Attributes:
        read_bytes: of one answer.
        resolver: finds a name's addresses.
        trust: whose certificates are believed; None: the system's.
    """

    network: ToolNetwork
    read_bytes: int
    resolver: Resolve = resolve
    trust: ssl.SSLContext | None = None

    async def call(
        self,
        peer: Peer,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        input_schema: str,
        call_id: str,
        seconds: float,
    ) -> CallToolResult:
        """Makes one call, at most once; nothing is sent twice.

        Args:
            peer: who is asked.
            tool: the tool's name there.
            arguments: its arguments.
            input_schema: as the server listed it, as JSON text.
            call_id: the idempotency key.
            seconds: for all of it but the end of the session.

        Raises:
            ToolFailedError: the server answers an error instead of a result.
            EdgeError: there is no answer, or none that can be taken.
        """
        request = CallToolRequest(
            params=CallToolRequestParams(
                name=tool,
                arguments=dict(arguments),
                _meta={"callId": call_id, "idempotencyKey": call_id},
            )
        )

        async def work(client: Client) -> CallToolResult:
            if (
                client.protocol_version in MODERN_PROTOCOL_VERSIONS
                and _ARGUMENT_HEADER in input_schema
            ):
                # Some arguments go in headers too; the SDK knows which once it has seen the list.
                await _listed(client)
            result = await client.session.send_request(request, _RESULT)
            if isinstance(result, InputRequiredResult):
                raise ToolFailedError("The tool asks for more than its arguments.")
            return result

        edge = self._edge(call_id)
        return await self._hold(peer, edge, work, seconds)

    async def tools(self, peer: Peer, *, seconds: float) -> list[Tool]:
        """What the server offers, all pages of it.

        Raises:
            ToolFailedError: it answers an error.
            EdgeError: there is no answer, or none that can be taken.
        """
        return await self._hold(peer, self._edge(None), _listed, seconds)

    def _edge(self, call_id: str | None) -> GuardedTransport:
        return GuardedTransport(
            network=self.network,
            read_bytes=self.read_bytes,
            call_id=call_id,
            resolver=self.resolver,
            trust=self.trust,
        )

    async def _hold[Result](
        self,
        peer: Peer,
        edge: GuardedTransport,
        work: Callable[[Client], Awaitable[Result]],
        seconds: float,
    ) -> Result:
        """Does the work in a conversation.

        Whatever happens after the work is done (a stream that breaks off, a session that does not
        end) changes nothing of it.
        """
        done: list[Result] = []
        failed: Exception | None = None
        async with _http(peer, edge) as http:
            with anyio.move_on_after(seconds) as scope:
                edge.on_fault = scope.cancel
                try:
                    async with _client(peer, http) as client:
                        done.append(await work(client))
                except Exception as error:  # noqa: BLE001 - the SDK's groups hold anything
                    failed = error
            with anyio.move_on_after(END_SECONDS):
                await _end(peer, edge, http)
        if done:
            return done[0]
        raise _reason(failed, edge, seconds)


async def _listed(client: Client) -> list[Tool]:
    tools: list[Tool] = []
    cursor: str | None = None
    for _page in range(MAX_PAGES):
        params = None if cursor is None else PaginatedRequestParams(cursor=cursor)
        page = await client.session.list_tools(params=params)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return tools


@asynccontextmanager
async def _http(peer: Peer, edge: GuardedTransport) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"authorization": f"Bearer {peer.token}"} if peer.token else {}
    async with httpx2.AsyncClient(
        transport=edge,
        headers=headers,
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        trust_env=False,
        follow_redirects=False,
    ) as http:
        yield http


@asynccontextmanager
async def _client(peer: Peer, http: httpx2.AsyncClient) -> AsyncIterator[Client]:
    transport = streamable_http_client(
        peer.url, http_client=http, terminate_on_close=False, max_sse_event_size=None
    )
    async with Client(transport, client_info=_US, cache=None) as client:
        yield client


async def _end(peer: Peer, edge: GuardedTransport, http: httpx2.AsyncClient) -> None:
    """Tells the server, where it has opened a session; what it says to that is not read."""
    if edge.session_id is None:
        return
    headers = {"mcp-session-id": edge.session_id}
    with suppress(EdgeError, httpx2.HTTPError):
        async with http.stream("DELETE", peer.url, headers=headers):
            pass


def _reason(failed: Exception | None, edge: GuardedTransport, seconds: float) -> Exception:
    """Why there is no result, in our words; in the server's only where it is the tool's failure."""
    if edge.fault is not None:
        return edge.fault
    if failed is None:
        return EdgeError("timeout", f"The tool did not answer within {seconds:g} s. {edge.fate()}")
    leaves = list(_leaves(failed))
    for leaf in leaves:
        if isinstance(leaf, ToolFailedError):
            return leaf
        if isinstance(leaf, MCPError):
            return _reason_of_error(leaf, edge)
    if any(isinstance(leaf, ValidationError | RuntimeError) for leaf in leaves):
        return EdgeError(
            "bad_answer", f"The tool's server does not keep to the protocol. {edge.fate()}"
        )
    return failed


def _reason_of_error(error: MCPError, edge: GuardedTransport) -> Exception:
    """An error of the protocol: sent by the server, or made by the SDK of what came instead."""
    answered = edge.answered
    if answered is None:
        return EdgeError("bad_answer", f"The tool's server does not answer. {edge.fate()}")
    status = answered.status
    if status >= httpx2.codes.BAD_REQUEST and not answered.is_json:
        reason: Reason = (
            "unreachable" if status >= httpx2.codes.INTERNAL_SERVER_ERROR else "bad_answer"
        )
        return EdgeError(reason, f"The tool's server answers HTTP {status}. {edge.fate()}")
    if status < httpx2.codes.BAD_REQUEST and not answered.is_readable:
        return EdgeError(
            "bad_answer", f"The tool's server does not answer in the protocol. {edge.fate()}"
        )
    if error.code in {PARSE_ERROR, CONNECTION_CLOSED, REQUEST_TIMEOUT}:
        return EdgeError("bad_answer", f"The tool's server gave no whole answer. {edge.fate()}")
    if answered.method != CALL:
        return EdgeError("bad_answer", f"The tool's server refuses the conversation. {edge.fate()}")
    return ToolFailedError(error.message)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
