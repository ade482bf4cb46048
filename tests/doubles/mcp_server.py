"""An MCP server whose every byte a test chooses: on a socket, in a thread of its own."""

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

type Json = dict[str, Any]

SESSION: Final = "session-1"
NOTHING_LIKE_THAT: Final = -32_601


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    verb: str
    path: str
    headers: Mapping[str, str]
    body: Json

    @property
    def method(self) -> str:
        """Of the protocol; the HTTP verb where the request holds no message."""
        return str(self.body.get("method", self.verb))


@dataclass
class Exchange:
    """A request, and the way back."""

    received: Received
    writer: asyncio.StreamWriter

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode() + body)

    async def json(self, message: object, *, status: int = 200, session: bool = False) -> None:
        headers = {"content-type": "application/json"}
        if session:
            headers["mcp-session-id"] = SESSION
        await self.answer(status, json.dumps(message).encode(), headers)

    async def result(self, result: Json, *, session: bool = False) -> None:
        message = {"jsonrpc": "2.0", "id": self.received.body["id"], "result": result}
        await self.json(message, session=session)

    async def error(self, code: int, text: str, *, status: int = 200) -> None:
        message = {
            "jsonrpc": "2.0",
            "id": self.received.body["id"],
            "error": {"code": code, "message": text},
        }
        await self.json(message, status=status)

    async def events(self, *events: str, end: bool = True) -> None:
        """Server-sent events, in one go."""
        await self.raw(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        )
        for event in events:
            await self.raw(event.encode())
        if end:
            self.writer.close()

    def text_result(self, text: str) -> str:
        """As an event."""
        result = {"content": [{"type": "text", "text": text}]}
        message = {"jsonrpc": "2.0", "id": self.received.body["id"], "result": result}
        return f"data: {json.dumps(message)}\n\n"


type Behaviour = Callable[[Exchange], Awaitable[None]]


def says(text: str) -> Behaviour:
    """A tool that answers a text."""

    async def behave(exchange: Exchange) -> None:
        await exchange.result({"content": [{"type": "text", "text": text}]})

    return behave


@dataclass
class ScriptedServer:
    """Speaks the handshake's protocol, but for what `behaviours` says of a method or a verb.

    Attributes:
        behaviours: by `tools/call`, `initialize`, …, or by `*` for everything.
        tools: what it lists.
        received: every request, in order.
    """

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    tools: list[Json] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/mcp"

    @property
    def methods(self) -> list[str]:
        return [each.method for each in self.received]

    def sole(self, method: str) -> Received:
        (found,) = (each for each in self.received if each.method == method)
        return found

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A test's end cancels whatever still answers.
        gone = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with suppress(*gone):
            while not writer.is_closing():
                received = await _read(reader)
                self.received.append(received)
                await self._answer(Exchange(received, writer))
        with suppress(*gone):
            writer.close()
            await asyncio.wait_for(writer.wait_closed(), 0.1)
        writer.transport.abort()

    async def _answer(self, exchange: Exchange) -> None:
        method = exchange.received.method
        behave = self.behaviours.get(method) or self.behaviours.get("*")
        if behave is not None:
            await behave(exchange)
            return
        match method:
            case "initialize":
                await exchange.result(
                    {
                        "protocolVersion": "2025-06-18",
                        "capabilities": {"tools": {}},
                        "serverInfo": {"name": "scripted", "version": "1"},
                    },
                    session=True,
                )
            case "tools/list":
                await exchange.result({"tools": self.tools})
            case "tools/call":
                await says("done")(exchange)
            case _ if "id" not in exchange.received.body:
                await exchange.answer(202)
            case _:
                await exchange.error(NOTHING_LIKE_THAT, "Method not found")


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    verb, path, _version = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(verb, path, headers, json.loads(body) if body else {})


@contextmanager
def scripted_server(
    behaviours: Mapping[str, Behaviour] | None = None,
    *,
    tools: list[Json] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[ScriptedServer]:
    """Serves on a free port of this machine."""
    server = ScriptedServer(
        behaviours=dict(behaviours or {}),
        tools=tools or [],
        scheme="http" if tls is None else "https",
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)

    async def stop() -> None:
        listening.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    listening = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
