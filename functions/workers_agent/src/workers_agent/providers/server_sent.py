"""The texts that a streamed HTTP answer consists of, however its server frames them."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Final

import httpx

from workers_agent.model import ModelFailedError

DONE: Final = "[DONE]"
"""The protocol's word for the end."""

SIGN_OF_LIFE: Final = ""
"""What a comment comes to: gateways send them while a model thinks."""

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of a line, and of an event. A reply has 16,000 characters, arguments of a call rarely more."""

MAX_LINES: Final = 10_000
"""Of an event."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


async def server_sent(response: httpx.Response) -> AsyncIterator[str]:
    """The data of each event, and `SIGN_OF_LIFE`.

    A body that begins as JSON is one text, or one a line, whatever its type is called. httpx's own
    lines end at U+2028 too, which may stand in the middle of a JSON text.

    Raises:
        ModelFailedError: a line or an event has no end.
    """
    lines, events = _Lines(), _Events()
    async for piece in response.aiter_bytes():
        for line in lines.take(piece):
            for data in events.take(line):
                yield data
    for line in lines.rest():
        for data in events.take(line):
            yield data
    for data in events.rest():
        yield data


class _Lines:
    """Lines of bytes that come in pieces: they end in CR, LF or both."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._length = 0
        self._is_first = True

    def take(self, piece: bytes) -> Iterator[bytes]:
        if self._held and self._held[-1] == b"\r":
            # What follows may be the second half of a line's end.
            self._held.pop()
            self._length -= 1
            piece = b"\r" + piece
        body, cut = (piece[:-1], piece[-1:]) if piece.endswith(b"\r") else (piece, b"")
        *whole, last = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for end in whole:
            yield self._line(end)
        self._hold(last)
        self._hold(cut)

    def rest(self) -> Iterator[bytes]:
        yield self._line(b"").removesuffix(b"\r")

    def _hold(self, piece: bytes) -> None:
        if not piece:
            return
        self._held.append(piece)
        self._length += len(piece)
        if self._length > MAX_BYTES:
            raise ModelFailedError("model_error", retryable=True)

    def _line(self, end: bytes) -> bytes:
        line = b"".join((*self._held, end))
        self._held, self._length = [], 0
        if self._is_first:
            self._is_first = False
            return line.removeprefix(_BYTE_ORDER_MARK)
        return line


class _Events:
    """Events of lines. A blank line ends one; some servers leave it out where the data is whole."""

    def __init__(self) -> None:
        self._data: list[str] = []
        self._length = 0
        self._is_json: bool | None = None

    def take(self, line: bytes) -> Iterator[str]:
        text = line.decode(errors="replace")
        if self._is_json is None and text.strip():
            self._is_json = text.lstrip().startswith("{")
        if self._is_json:
            yield from self._add(text)
        elif text.startswith("data:"):
            yield from self._add(text.removeprefix("data:").removeprefix(" "))
        elif text.startswith(":"):
            yield SIGN_OF_LIFE
        elif not text:
            yield from self._flushed()

    def rest(self) -> Iterator[str]:
        yield from self._flushed()

    def _add(self, text: str) -> Iterator[str]:
        if self._data and not self._is_json and _is_whole(text):
            yield from self._flushed()
        self._data.append(text)
        self._length += len(text)
        if self._length > MAX_BYTES or len(self._data) > MAX_LINES:
            raise ModelFailedError("model_error", retryable=True)
        is_first = len(self._data) == 1
        if ((is_first or not self._is_json) and _is_whole(text)) or (
            text.startswith("}") and _is_whole("\n".join(self._data))
        ):
            yield from self._flushed()

    def _flushed(self) -> Iterator[str]:
        data, self._data, self._length = "\n".join(self._data), [], 0
        if data.strip():
            yield data


def is_end(data: str) -> bool:
    """Some servers send the word as a JSON text."""
    return data.strip().strip('"') == DONE


def _is_whole(text: str) -> bool:
    """Whether it is a JSON object by itself, or the end; parsing what cannot be one is spared."""
    if is_end(text):
        return True
    if not text.rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads(text, strict=False), dict)
    except (ValueError, RecursionError):
        return False
