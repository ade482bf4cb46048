import re
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from commons.realtime.broadcaster import Broadcaster

HANG_UP = 0
"""A scripted answer: close the TCP connection without one."""

OK_THEN_HANG_UP = 1
"""A scripted answer: 200, and the TCP connection closed without a word afterwards."""


@dataclass(frozen=True)
class Received:
    method: str
    url: str
    connection_id: str
    body: bytes
    headers: dict[str, str]
    peer: tuple[str, int]
    at: float


type Script = Callable[[str, int], int]
"""Given a connection and how often it was asked before: the status to answer with."""


def by_connection(statuses: Mapping[str, int], *, default: int = 200) -> Script:
    def answer(connection_id: str, _asked: int) -> int:
        return statuses.get(connection_id, default)

    return answer


def always(status: int) -> Script:
    return by_connection({}, default=status)


def at_first(times: int, statuses: Mapping[str, int], *, then: int = 200) -> Script:
    def answer(connection_id: str, asked: int) -> int:
        return statuses.get(connection_id, then) if asked < times else then

    return answer


def only_first(status: int, *, then: int) -> Script:
    def answer(_connection_id: str, asked: int) -> int:
        return status if asked == 0 else then

    return answer


@dataclass
class FakeCallbackApi:
    """A management API on loopback that answers by a script and keeps what it was sent."""

    script: Script = field(default_factory=lambda: always(200))
    delay: float = 0.0
    requests: list[Received] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""
    _asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, received: Received) -> int:
        with self._lock:
            self.requests.append(received)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            asked = self._asked[received.connection_id]
            self._asked[received.connection_id] += 1
        time.sleep(self.delay)
        status = self.script(received.connection_id, asked)
        with self._lock:
            self.in_flight -= 1
        return status

    def bodies(self, connection_id: str) -> list[bytes]:
        return [sent.body for sent in self.requests if sent.connection_id == connection_id]


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[FakeCallbackApi]:
    fake = FakeCallbackApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            matched = re.fullmatch(r"/dev/@connections/(.+)", self.path)
            connection_id = unquote(matched[1]) if matched else ""
            status = fake.answer(
                Received(
                    method=self.command,
                    url=f"{fake.url.removesuffix('/dev')}{self.path}",
                    connection_id=connection_id,
                    body=body,
                    headers=dict(self.headers.items()),
                    peer=self.client_address,
                    at=time.monotonic(),
                )
            )
            if status == HANG_UP:
                self.close_connection = True
                return
            if status == OK_THEN_HANG_UP:
                self.close_connection, status = True, 200
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = _serve  # noqa: N815 - the name http.server calls
        do_DELETE = _serve  # noqa: N815
        do_GET = _serve  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "http" if tls is None else "https"
    fake.url = f"{scheme}://127.0.0.1:{server.server_port}/dev"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def callback_api() -> Iterator[FakeCallbackApi]:
    with serving() as fake:
        yield fake


@pytest.fixture
def tls_callback_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCallbackApi]:
    """As `callback_api`, over TLS, its certificate among those that botocore trusts."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    _write_certificate(certificate, key)
    monkeypatch.setattr("commons.realtime.callback_api.get_cert_path", lambda _: str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(context) as fake:
        yield fake


def _write_certificate(certificate: Path, key: Path) -> None:
    private_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "callback api")])
    today = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, private_key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private_key, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.fixture
def session() -> boto3.Session:
    return boto3.Session("AKID", "secret", "session-token", region_name="eu-west-1")


@pytest.fixture
def broadcaster(callback_api: FakeCallbackApi, session: boto3.Session) -> Broadcaster:
    return Broadcaster(callback_api.url, session=session)
