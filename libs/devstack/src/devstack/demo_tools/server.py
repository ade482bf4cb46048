"""The servers, by the `mcp` SDK, in one application: /clock/mcp and /notes/mcp."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from pydantic import Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from devstack.demo_tools.notes import Notes

KEY: Final = "idempotencyKey"
"""In the `_meta` of a call."""


def build_app(notes_file: Path) -> Starlette:
    """Both servers; `GET /notes` shows the notes to whoever wants to see what was done."""
    notes = Notes(notes_file)
    servers = {"clock": _clock(), "notes": _notes(notes)}
    apps = [
        server.streamable_http_app(streamable_http_path=f"/{name}/mcp")
        for name, server in servers.items()
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as running:
            for server in servers.values():
                await running.enter_async_context(server.session_manager.run())
            yield

    async def show(_request: Request) -> Response:
        return JSONResponse({"notes": notes.all()})

    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok")

    own = [Route("/notes", show), Route("/health", health)]
    return Starlette(
        routes=[*own, *(each for app in apps for each in app.routes)], lifespan=lifespan
    )


def _clock() -> MCPServer:
    server = MCPServer("clock", log_level="ERROR")

    @server.tool(title="Clock", annotations=ToolAnnotations(read_only_hint=True))
    def now() -> str:
        """The time of this machine, in UTC."""
        return datetime.now(UTC).isoformat(timespec="seconds")

    return server


def _notes(notes: Notes) -> MCPServer:
    server = MCPServer("notes", log_level="ERROR")

    @server.tool(title="Add a note", annotations=ToolAnnotations(read_only_hint=False))
    def add(
        text: Annotated[str, Field(description="What to write down.", max_length=2_000)],
        context: Context[Any, Any],
    ) -> str:
        """Writes a note down. The same call made again writes nothing."""
        meta = context.request_context.meta
        key = dict(meta).get(KEY) if meta else None
        number = notes.add(text, key if isinstance(key, str) else None)
        return f"Note {number} is written down."

    return server
