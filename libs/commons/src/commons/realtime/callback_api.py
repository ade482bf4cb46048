"""API Gateway's management API for open WebSocket connections (`@connections`).

A boto3 call spends most of its CPU on building and parsing what never changes. Here `botocore.auth`
signs, the request leaves in one write, and `http.client` reads the answer (docs/adr/0003).
"""

import ssl
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Lock, local
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit
from weakref import finalize

from boto3.session import Session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError, NoRegionError
from botocore.httpsession import get_cert_path

if TYPE_CHECKING:
    from socket import socket

    from botocore.credentials import Credentials

_CONNECT_TIMEOUT: Final = 1.0
_READ_TIMEOUT: Final = 3.0
_MAX_IDLE_SECONDS: Final = 30.0
"""A connection that was idle for longer may have been dropped without a word."""

_EMPTY_DIGEST: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class TransportError(Exception):
    """No answer: the connection failed, or the answer did not come in time."""


class CallbackApi:
    """Posts to connections and closes them; each thread keeps a connection of its own alive.

    Args:
        callback_url: `https://…/{stage}`, without a slash at the end.
        session: where credentials (refreshed before they end) and the region come from.
    """

    def __init__(self, callback_url: str, *, session: Session | None = None) -> None:
        self._url = callback_url.rstrip("/")
        self._base_path = urlsplit(self._url).path
        self._wire = _Wire(self._url)
        self._signer = _Signer(session)

    def post(self, connection_id: str, body: bytes, digest: str, *, timeout: float) -> int:
        """Sends one frame and returns the HTTP status.

        Args:
            connection_id: as API Gateway gave it, not yet percent-encoded.
            body: UTF-8.
            digest: SHA-256 of the body in hexadecimal: the same body goes to many connections.
            timeout: seconds to wait at most.

        Raises:
            TransportError: there was no answer.
        """
        return self._request("POST", connection_id, body, digest, timeout)

    def delete(self, connection_id: str, *, timeout: float) -> int:
        """Closes a connection and returns the HTTP status (204; 410 where it was closed).

        Raises:
            TransportError: there was no answer.
        """
        return self._request("DELETE", connection_id, b"", _EMPTY_DIGEST, timeout)

    def get(self, connection_id: str, *, timeout: float) -> int:
        """Asks about a connection and returns the HTTP status (200; 410 where it was closed).

        Raises:
            TransportError: there was no answer.
        """
        return self._request("GET", connection_id, b"", _EMPTY_DIGEST, timeout)

    def _request(
        self, method: str, connection_id: str, body: bytes, digest: str, timeout: float
    ) -> int:
        path = f"/@connections/{quote(connection_id, safe='')}"
        headers = self._signer.headers(method, self._url + path, digest)
        lines = [
            f"{method} {self._base_path}{path} HTTP/1.1",
            f"Host: {self._wire.host}",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers),
            "\r\n",
        ]
        return self._wire.exchange(method, "\r\n".join(lines).encode() + body, timeout)


class _Signer:
    """Signature Version 4, with credentials and region of a session, found at first use."""

    def __init__(self, session: Session | None) -> None:
        self._session = session
        self._lock = Lock()
        self._found: tuple[Credentials, str] | None = None

    def headers(self, method: str, url: str, digest: str) -> list[tuple[str, str]]:
        credentials, region = self._found or self._find()
        request = AWSRequest(method, url, headers={"X-Amz-Content-SHA256": digest})
        frozen = credentials.get_frozen_credentials()
        SigV4Auth(frozen, "execute-api", region).add_auth(request)
        return list(request.headers.items())

    def _find(self) -> "tuple[Credentials, str]":
        with self._lock:
            if self._found is None:
                session = self._session or Session()
                credentials = session.get_credentials()
                if credentials is None:
                    raise NoCredentialsError
                if session.region_name is None:
                    raise NoRegionError
                self._found = credentials, session.region_name
            return self._found


class _Wire:
    """HTTP/1.1 to one host over kept-alive connections, one a thread.

    Attributes:
        host: the value of the header `Host`.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._hostname = parts.hostname or ""
        self._tls = (
            ssl.create_default_context(cafile=get_cert_path(True))
            if parts.scheme == "https"
            else None
        )
        default_port = 443 if self._tls else 80
        self._port = parts.port or default_port
        self.host = (
            self._hostname if self._port == default_port else f"{self._hostname}:{self._port}"
        )
        self._kept = local()

    def exchange(self, method: str, request: bytes, timeout: float) -> int:
        """Writes a request, reads the answer and returns its status.

        Raises:
            TransportError: there was no answer.
        """
        kept: _KeptAlive | None = getattr(self._kept, "connection", None)
        if kept is not None:
            try:
                return self._over(kept, method, request, timeout)
            except (ConnectionError, HTTPException):
                # The other end closed it while it was idle: that says nothing about this request.
                self._drop(kept)
            except OSError as error:
                self._drop(kept)
                raise TransportError from error
        return self._over_new(method, request, timeout)

    def _over_new(self, method: str, request: bytes, timeout: float) -> int:
        try:
            kept = self._connect(timeout)
        except OSError as error:
            raise TransportError from error
        self._kept.connection = kept
        try:
            return self._over(kept, method, request, timeout)
        except (OSError, HTTPException) as error:
            self._drop(kept)
            raise TransportError from error

    def _over(self, kept: "_KeptAlive", method: str, request: bytes, timeout: float) -> int:
        if time.monotonic() - kept.used_at > _MAX_IDLE_SECONDS:
            raise ConnectionError
        kept.socket.settimeout(min(_READ_TIMEOUT, timeout))
        kept.socket.sendall(request)
        response = HTTPResponse(kept.socket, method=method)
        try:
            response.begin()
            response.read()
        finally:
            response.close()
        kept.used_at = time.monotonic()
        if response.will_close:
            self._drop(kept)
        return response.status

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
