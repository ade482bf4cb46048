"""A management API that does nothing, quickly: run as a process of its own.

Answers every post 10 ms after it came (410 for a connection whose id begins with `gone`) and
counts. `GET /stats` tells the count and the CPU seconds spent, so that a benchmark can show that
this is not what it measured. Prints its port.
"""

import asyncio
import json
import sys
import time
from typing import Final

ANSWER_SECONDS: Final = 0.010
_OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
_GONE: Final = (
    b"HTTP/1.1 410 Gone\r\nx-amzn-ErrorType: GoneException\r\n"
    b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
)


class NullEndpoint(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as far as the clients measured here use it."""

    posts = 0

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _content_length(head)
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        transport = self._transport
        assert transport is not None
        if head.startswith(b"GET"):
            stats = {"posts": NullEndpoint.posts, "cpuSeconds": time.process_time()}
            body = json.dumps(stats).encode()
            transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            return
        NullEndpoint.posts += 1
        answer = _GONE if b"/@connections/gone" in head.split(b"\r\n", 1)[0] else _OK
        asyncio.get_running_loop().call_later(ANSWER_SECONDS, transport.write, answer)


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.find(b"content-length:")
    return 0 if start < 0 else int(lowered[start + 15 :].split(b"\r\n", 1)[0])


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(NullEndpoint, "127.0.0.1", 0, backlog=1_024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
