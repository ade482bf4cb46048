"""Against servers of the SDK itself, in each era of the protocol and in each way they can be run."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import pytest
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from pydantic import Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.doubles.mcp_server import ScriptedServer
from tests.doubles.repository import InMemoryRepository
from tests.unit.workers_tools.conftest import SERVER, Stack, request

from commons import keys
from commons.dal import Table
from commons.records.tool import ToolServerRecord


class Overheard:
    """Headers and versions of the requests that pass."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.requests: list[dict[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            self.requests.append({"verb": scope["method"], **headers})
        await self.app(scope, receive, send)


class OnlyHandshakes:
    """A server of the time before `server/discover`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = dict(scope.get("headers", []))
        if names.get(b"mcp-method") == b"server/discover":
            start: Message = {
                "type": "http.response.start",
                "status": 400,
                "headers": [(b"content-type", b"text/plain")],
            }
            await send(start)
            await send({"type": "http.response.body", "body": b"Bad Request: no session"})
            return
        await self.app(scope, receive, send)


def notes() -> MCPServer:
    server = MCPServer("notes")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def add(
        first: int,
        second: Annotated[int, Field(json_schema_extra={"x-mcp-header": "second"})],
    ) -> int:
        """Adds two numbers."""
        return first + second

    @server.tool()
    async def meta(context: Context) -> str:
        """Says what came along."""
        sent: Any = context.request_context.meta
        return str(dict(sent)["idempotencyKey"])

    return server


@contextmanager
def served(app: ASGIApp) -> Iterator[int]:
    config = uvicorn.Config(app, port=0, log_level="critical", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)


type Run = Callable[[], ASGIApp]

WAYS: dict[str, tuple[Run, set[str]]] = {
    "of today": (lambda: notes().streamable_http_app(), {"2026-07-28"}),
    "of today, in JSON": (lambda: notes().streamable_http_app(json_response=True), {"2026-07-28"}),
    "with sessions": (
        lambda: OnlyHandshakes(notes().streamable_http_app()),
        {"2026-07-28", "2025-11-25"},
    ),
    "in JSON": (
        lambda: OnlyHandshakes(notes().streamable_http_app(json_response=True)),
        {"2026-07-28", "2025-11-25"},
    ),
    "without sessions": (
        lambda: OnlyHandshakes(notes().streamable_http_app(stateless_http=True)),
        {"2026-07-28", "2025-11-25"},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_its_tools_are_listed_and_called(repository: InMemoryRepository, way: str) -> None:
    run, versions = WAYS[way]
    overheard = Overheard(run())
    with served(overheard) as port:
        stack = Stack(ScriptedServer(port=port), repository)
        services = stack.services()

        refreshed = services.catalogue.refresh()
        added = services.calling.call(request("add", first=1, second=2))
        said = services.calling.call(request("meta"))
        wrong = services.calling.call(request("add", first="one", second=2))

    assert refreshed.tools == 2
    row = repository.get(Table.CHANNELS, keys.tool_server_key(SERVER))
    assert [tool.approval for tool in ToolServerRecord.model_validate(row).tools] == [
        "none",
        "requester",
    ]
    assert (added.outcome, added.text) == ("ok", '{"result": 3}')
    assert (said.outcome, said.text) == ("ok", '{"result": "call-1"}')
    assert (wrong.outcome, wrong.reason) == ("error", "tool_error")
    told = {each.get("mcp-protocol-version") for each in overheard.requests}
    assert told - {None} == versions
    assert sum("idempotency-key" in each for each in overheard.requests) == 3
    begun = any("mcp-session-id" in each for each in overheard.requests)
    assert any(each["verb"] == "DELETE" for each in overheard.requests) == begun
