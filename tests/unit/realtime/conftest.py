import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import boto3
import pytest

from commons.realtime.broadcaster import Broadcaster

HANG_UP = 0
"""A scripted answer: close the TCP connection without one."""


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


@pytest.fixture
def callback_api() -> Iterator[FakeCallbackApi]:
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
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = _serve  # noqa: N815 - the name http.server calls
        do_DELETE = _serve  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}/dev"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def session() -> boto3.Session:
    return boto3.Session("AKID", "secret", "session-token", region_name="eu-west-1")


@pytest.fixture
def broadcaster(callback_api: FakeCallbackApi, session: boto3.Session) -> Broadcaster:
    return Broadcaster(callback_api.url, session=session)
