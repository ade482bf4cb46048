"""One client's HTTP/1.1 connection: h11 over asyncio streams."""

import asyncio
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

import h11

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
READ_BYTES: Final = 65_536


class ClientGoneError(Exception):
    """The client has closed the connection."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes


class Connection:
    """One client, one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)

    async def request(self) -> Request | None:
        """The next request; None when the client is through."""
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(READ_BYTES))
            elif isinstance(event, h11.Request):
                head = event
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY_BYTES:
                    raise h11.RemoteProtocolError("too large", error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                url = urlsplit(head.target.decode("ascii"))
                return Request(head.method.decode(), url.path, parse_qs(url.query), bytes(body))
            else:
                return None

    async def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        fields = {"content-type": "application/json"} | (headers or {})
        await self._open(status, fields | {"content-length": str(len(body))})
        await self._send(h11.Data(data=body))
        await self._send(h11.EndOfMessage())

    async def open_stream(self, content_type: str) -> None:
        await self._open(200, {"content-type": content_type, "cache-control": "no-cache"})

    async def stream(self, piece: bytes) -> None:
        await self._send(h11.Data(data=piece))

    async def close_stream(self) -> None:
        await self._send(h11.EndOfMessage())

    def reusable(self) -> bool:
        """Makes ready for the next request, where the protocol allows one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def wait(self, seconds: float | None) -> None:
        """Waits; a client that leaves meanwhile ends it.

        Raises:
            ClientGoneError: the client has closed the connection.
        """
        try:
            async with asyncio.timeout(seconds):
                if not await self._reader.read(1):
                    raise ClientGoneError
        except TimeoutError:
            return

    def cut(self) -> None:
        """Ends the connection without a goodbye."""
        self._writer.transport.abort()

    async def _open(self, status: int, headers: dict[str, str]) -> None:
        await self._send(h11.Response(status_code=status, headers=list(headers.items())))

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()
