"""A cable between a browser and its servers that can be pulled: an HTTP proxy."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

CHUNK = 65_536


class Cable:
    """Carries every connection of a browser, WebSockets too, until it is cut.

    Attributes:
        address: what `--proxy-server` takes.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._is_cut = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @contextmanager
    def laid(self) -> Iterator["Cable"]:
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._listener.close()
            self.cut()

    def cut(self) -> None:
        """Breaks what is open; what is tried later fails."""
        with self._lock:
            self._is_cut = True
            ends, self._open = self._open, set()
        for end in ends:
            _close(end)

    def mend(self) -> None:
        with self._lock:
            self._is_cut = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                browser, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(browser,), daemon=True).start()

    def _serve(self, browser: socket.socket) -> None:
        try:
            head, rest = _read_head(browser)
            request_line, _, fields = head.partition(b"\r\n")
            method, target, version = request_line.decode().split(" ")
            url = urlsplit(f"//{target}" if method == "CONNECT" else target)
            server = socket.create_connection((url.hostname, url.port or 80))
            if not self._carries(browser, server):
                return
            if method == "CONNECT":
                browser.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                path = url._replace(scheme="", netloc="").geturl() or "/"
                # One request a connection: the next one may be for another server.
                kept = [
                    line
                    for line in fields.split(b"\r\n")
                    if not line.lower().startswith((b"connection:", b"proxy-connection:"))
                ]
                head = f"{method} {path} {version}\r\n".encode() + b"\r\n".join(kept)
                server.sendall(head + b"\r\nConnection: close\r\n\r\n")
            server.sendall(rest)
            threading.Thread(target=_pipe, args=(browser, server), daemon=True).start()
            _pipe(server, browser)
        except (OSError, ValueError):
            pass  # the browser sees a connection that broke, which is what it is
        finally:
            _close(browser)

    def _carries(self, *ends: socket.socket) -> bool:
        with self._lock:
            if not self._is_cut:
                self._open.update(ends)
                return True
        for end in ends:
            _close(end)
        return False


def _read_head(browser: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = browser.recv(CHUNK)
        if not chunk:
            raise ValueError("no request")
        received += chunk
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
