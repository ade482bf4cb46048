"""API Gateway's management API for open WebSocket connections (`@connections`).

A boto3 call spends most of its CPU on building and parsing what never changes. Here what requests share is
signed once a second, a request leaves in one write, and of its answer the status is read (docs/adr/0003).
"""

import ssl
from typing import Final
from urllib.parse import quote, urlsplit

from boto3.session import Session
from botocore.httpsession import get_cert_path

from commons.realtime.http_wire import HttpWire, TransportError
from commons.realtime.request_signer import RequestSigner

__all__ = ["CallbackApi", "TransportError"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_EMPTY_DIGEST: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class CallbackApi:
    """Posts to connections and closes them; each thread keeps a connection of its own alive.

    Args:
        callback_url: `https://…/{stage}`, without a slash at the end.
        session: where credentials (refreshed before they end) and the region come from.
    """

    def __init__(self, callback_url: str, *, session: Session | None = None) -> None:
        parts = urlsplit(callback_url.rstrip("/"))
        hostname, default_port = parts.hostname or "", _DEFAULT_PORTS[parts.scheme]
        port = parts.port or default_port
        is_https = parts.scheme == "https"
        tls = ssl.create_default_context(cafile=get_cert_path(True)) if is_https else None
        self._host = hostname if port == default_port else f"{hostname}:{port}"
        self._base_path = parts.path
        self._wire = HttpWire(hostname, port, tls)
        self._signer = RequestSigner(session, self._host)

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
        path = f"{self._base_path}/@connections/{quote(connection_id, safe='')}"
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n"
            f"{self._signer.lines(method, path, digest)}\r\n"
        )
        return self._wire.exchange(head.encode() + body, timeout)
