"""API Gateway's management API for open WebSocket connections (`@connections`).

A boto3 call spends most of its CPU on building and parsing what never changes; here `botocore.auth`
signs a request that a `urllib3` pool sends.
"""

from threading import Lock
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import urllib3
from boto3.session import Session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError, NoRegionError
from botocore.httpsession import get_cert_path

if TYPE_CHECKING:
    from botocore.credentials import Credentials

_CONNECT_TIMEOUT: Final = 1.0
_READ_TIMEOUT: Final = 3.0
_EMPTY_DIGEST: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

TransportError = urllib3.exceptions.HTTPError
"""No answer: the connection failed, or the answer did not come in time."""


class _Signer:
    """Signature Version 4, with credentials and region of a session, found at first use."""

    def __init__(self, session: Session | None) -> None:
        self._session = session
        self._lock = Lock()
        self._found: tuple[Credentials, str] | None = None

    def headers(self, method: str, url: str, digest: str) -> dict[str, str]:
        credentials, region = self._found or self._find()
        request = AWSRequest(method, url, headers={"X-Amz-Content-SHA256": digest})
        frozen = credentials.get_frozen_credentials()
        SigV4Auth(frozen, "execute-api", region).add_auth(request)
        return dict(request.headers.items())

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


class CallbackApi:
    """Posts to connections and closes them, over kept-alive connections; safe for threads.

    Args:
        callback_url: `https://…/{stage}`, without a slash at the end.
        session: where credentials (refreshed before they end) and the region come from.
        pool_size: connections kept open.
    """

    def __init__(
        self, callback_url: str, *, session: Session | None = None, pool_size: int = 64
    ) -> None:
        self._url = callback_url.rstrip("/")
        parts = urlsplit(self._url)
        self._base_path = parts.path
        self._pool = (
            urllib3.HTTPSConnectionPool(
                parts.hostname or "",
                parts.port,
                maxsize=pool_size,
                ca_certs=get_cert_path(True),
            )
            if parts.scheme == "https"
            else urllib3.HTTPConnectionPool(parts.hostname or "", parts.port, maxsize=pool_size)
        )
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
        return self._request("DELETE", connection_id, None, _EMPTY_DIGEST, timeout)

    def _request(
        self, method: str, connection_id: str, body: bytes | None, digest: str, timeout: float
    ) -> int:
        path = f"/@connections/{quote(connection_id, safe='')}"
        response = self._pool.urlopen(
            method,
            self._base_path + path,
            body=body,
            headers=self._signer.headers(method, self._url + path, digest),
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=urllib3.Timeout(
                connect=min(_CONNECT_TIMEOUT, timeout), read=min(_READ_TIMEOUT, timeout)
            ),
        )
        return response.status
