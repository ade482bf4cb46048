"""Stands before API Gateway's management API: some connections take nothing that is posted to them.

The emulator takes every frame for a socket that does not read; API Gateway lets the post wait.
"""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import unquote, urlsplit

_POST: Final = re.compile(rb"POST \S*/@connections/(\S+) ")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class DeafProxy:
    """Passes on what comes, but for posts to connections in `deaf`, which it never answers.

    Attributes:
        address: `host:port`, to be called in the target's place.
        asked: connections that anything was posted to.
        deaf: may be changed at any time.
    """

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self.address = ""
        self.asked: set[str] = set()
        self.deaf: frozenset[str] = frozenset()
        self._relaying: set[asyncio.Task[None]] = set()

    async def serve(self, started: threading.Event, ended: asyncio.Event) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1_024)
        host, port = server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"
        started.set()
        await ended.wait()
        server.close()
        for task in self._relaying:
            task.cancel()
        await asyncio.gather(*self._relaying, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._relay(reader, writer))
        self._relaying.add(task)
        task.add_done_callback(self._relaying.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection(self._target.hostname, self._target.port)
            answering = asyncio.create_task(_copy(back, writer))
            try:
                await self._take_requests(reader, forth)
            finally:
                answering.cancel()
                forth.close()
        except (OSError, asyncio.IncompleteReadError):
            pass  # either end is gone
        finally:
            writer.close()

    async def _take_requests(
        self, reader: asyncio.StreamReader, forth: asyncio.StreamWriter
    ) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            if (post := _POST.match(head)) is not None:
                connection_id = unquote(post[1].decode())
                self.asked.add(connection_id)
                if connection_id in self.deaf:
                    await reader.read()
                    return
            forth.write(head + body)
            await forth.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
        writer.close()


@contextmanager
def deaf_proxy(target: str) -> Iterator[DeafProxy]:
    """In a thread of its own.

    Args:
        target: a URL at the host that is passed on to.
    """
    proxy, started = DeafProxy(target), threading.Event()
    loop, ended = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(proxy.serve(started, ended)))
    thread.start()
    try:
        assert started.wait(10)
        yield proxy
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
