"""HTTP/1.1 to one host, as far as a client needs it that only asks for an answer's status."""

import ssl
import time
from http.client import HTTPConnection, HTTPSConnection
from threading import local
from typing import TYPE_CHECKING, Final
from weakref import finalize

if TYPE_CHECKING:
    from socket import socket

_CONNECT_TIMEOUT: Final = 1.0
_READ_TIMEOUT: Final = 3.0
_MAX_IDLE_SECONDS: Final = 30.0
"""A connection that was idle for longer may have been dropped without a word."""

_CHUNK_BYTES: Final = 65_536
_MAX_HEAD_BYTES: Final = 65_536
_HEAD_END: Final = b"\r\n\r\n"


class TransportError(Exception):
    """No answer: the connection failed, or the answer did not come in time."""


class HttpWire:
    """Kept-alive connections, one a thread.

    Args:
        hostname: without a port.
        tls: None: plain HTTP.
    """

    def __init__(self, hostname: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._hostname = hostname
        self._port = port
        self._tls = tls
        self._kept = local()

    def exchange(self, request: bytes, timeout: float) -> int:
        """Writes a request, reads the answer and returns its status.

        Raises:
            TransportError: there was no answer.
        """
        kept: _KeptAlive | None = getattr(self._kept, "connection", None)
        if kept is not None:
            try:
                return self._over(kept, request, timeout)
            except ConnectionError:
                # The other end closed it while it was idle: that says nothing about this request.
                self._drop(kept)
            except OSError as error:
                self._drop(kept)
                raise TransportError from error
        return self._over_new(request, timeout)

    def _over_new(self, request: bytes, timeout: float) -> int:
        try:
            kept = self._connect(timeout)
        except OSError as error:
            raise TransportError from error
        self._kept.connection = kept
        try:
            return self._over(kept, request, timeout)
        except OSError as error:
            self._drop(kept)
            raise TransportError from error

    def _over(self, kept: "_KeptAlive", request: bytes, timeout: float) -> int:
        if time.monotonic() - kept.used_at > _MAX_IDLE_SECONDS:
            raise ConnectionError
        kept.socket.settimeout(min(_READ_TIMEOUT, timeout))
        kept.socket.sendall(request)
        status, may_go_on = _read_answer(kept.socket)
        kept.used_at = time.monotonic()
        if not may_go_on:
            self._drop(kept)
        return status

    def _connect(self, timeout: float) -> "_KeptAlive":
        patience = min(_CONNECT_TIMEOUT, timeout)
        connection = (
            HTTPSConnection(self._hostname, self._port, timeout=patience, context=self._tls)
            if self._tls
            else HTTPConnection(self._hostname, self._port, timeout=patience)
        )
        connection.connect()
        return _KeptAlive(connection.sock)

    def _drop(self, kept: "_KeptAlive") -> None:
        self._kept.connection = None
        kept.socket.close()


class _KeptAlive:
    """An open connection, closed with its thread; `used_at` is of the monotonic clock."""

    def __init__(self, connected: "socket") -> None:
        self.socket = connected
        self.used_at = time.monotonic()
        finalize(self, connected.close)


def _read_answer(connected: "socket") -> tuple[int, bool]:
    """The status, and whether the connection may carry another request.

    The body is read past where its length is said. Where it is not (a body in chunks, one that ends
    with the connection), the connection is of no more use.

    Raises:
        ConnectionError: it ended, or what came is no HTTP.
    """
    received = bytearray()
    while (end := received.find(_HEAD_END)) < 0:
        if len(received) > _MAX_HEAD_BYTES:
            raise ConnectionError
        received += _receive(connected)
    status_line, *lines = bytes(received[:end]).split(b"\r\n")
    version, _, rest = status_line.partition(b" ")
    headers = {
        name.strip().lower(): value.strip().lower()
        for name, _, value in (line.partition(b":") for line in lines)
    }
    try:
        status, length = int(rest[:3]), int(headers.get(b"content-length", b"-1"))
    except ValueError:
        raise ConnectionError from None
    missing = end + len(_HEAD_END) + length - len(received)
    if length < 0 or version != b"HTTP/1.1" or headers.get(b"connection") == b"close":
        return status, False
    while missing > 0:
        missing -= len(_receive(connected))
    return status, missing == 0


def _receive(connected: "socket") -> bytes:
    chunk = connected.recv(_CHUNK_BYTES)
    if not chunk:
        raise ConnectionError
    return chunk
