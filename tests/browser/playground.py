"""The web client over the real REST API and the real WebSocket handlers, in one process.

Storage is memory, tokens are not signed, the agent speaks from a script: for tests of the page that
need no stack, and for whoever works on the page (`python -m tests.browser`).
"""

import base64
import itertools
import json
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.browser.agent import Agent, Ask, Script
from tests.doubles.repository import InMemoryRepository
from tests.doubles.tools import CLOCK, NOTES, offer
from tests.integration.rest_api.client import proxy_event
from tests.integration.websocket.gateway import connect_event, disconnect_event, message_event
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from commons.realtime import encoded_frames
from commons.realtime.broadcaster import Outcome, Post
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.event_log import EventLogService
from devstack.sign_in.server import SignInServer
from rest_api.app import RestApi
from rest_api.composition import build_services
from rest_api.settings import Settings as RestSettings
from rest_web.app import WebApp
from rest_web.services.web_client import WebClientService
from rest_web.settings import Settings as WebSettings

STAGE = "/playground"
"""As on API Gateway, the stage is part of the page's path."""

USERS = ("alice", "bob", "carol")
MODEL = "playground-model"


def token_of(user: str, *, seconds: int = 3_600) -> str:
    """What looks like a JWT; here nobody checks more than that."""

    def part(claims: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")

    expires_at = int(time.time()) + seconds
    return ".".join([part({"alg": "none"}), part({"sub": user, "exp": expires_at}), "signature"])


def user_of(authorization: str | None) -> str | None:
    """Whose token a header carries."""
    with suppress(IndexError, ValueError, KeyError, AttributeError):
        payload = authorization.removeprefix("Bearer ").split(".")[1]  # type: ignore[union-attr]  # suppressed
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if claims["exp"] > time.time():
            return str(claims["sub"])
    return None


@dataclass
class Sockets:
    """Open connections, as an IBroadcaster and as API Gateway's management API see them."""

    open: dict[str, ServerConnection] = field(default_factory=dict)

    def post(self, connection_id: str, frame: str) -> bool:
        """Whether the connection took it."""
        connection = self.open.get(connection_id)
        if connection is None:
            return False
        try:
            connection.send(frame)
        except ConnectionClosed:
            return False
        return True

    def send(self, posts: Any, **_options: object) -> Outcome:
        sent: list[Post] = list(posts)
        gone = {
            post.connection_id
            for post in sent
            if not all(self.post(post.connection_id, frame.decode()) for frame in post.frames)
        }
        return Outcome(delivered=len(sent) - len(gone), gone=frozenset(gone))

    def delete_connection(self, connection_id: str) -> bool:
        if connection_id in self.open:
            self.open[connection_id].close()
        return True


def default_script(question: str) -> str:
    return (
        f"You said **{len(question.split())} words**. Here is what I make of it:\n\n"
        "1. It arrives piece by piece.\n2. It can be stopped.\n\n"
        "```python\ndef greet(name: str) -> str:\n    return f'Hello, {name}!'\n```\n\n"
        "| what | how |\n| --- | --- |\n| order | by number |\n| gaps | filled from the log |\n\n"
        "Ask again whenever you like."
    )


def default_asks(question: str) -> list[Ask]:
    """As the demo model: "note: TEXT" is noted, and who asks what time it is gets it looked up."""
    before, is_note, text = question.partition("note:")
    if is_note and "\n" not in before:
        return [Ask("I can note that.\n\n", [("notes.add", {"text": text.strip()})])]
    if "what time is it" in question.lower():
        return [Ask("", [("clock.now", {})])]
    return []


class Playground:
    """Everything that the page talks with.

    Attributes:
        sockets: the open connections.
        agent: who answers.
        takes_sockets: whether handshakes succeed.
    """

    def __init__(self, *, port: int = 0, script: Script = default_script) -> None:
        self.repository = InMemoryRepository()
        self.sockets = Sockets()
        self.takes_sockets = True
        self._numbers = itertools.count(1)
        self._serving = 0
        self._served = threading.Condition()
        self._heads: dict[str, int] = defaultdict(int)
        self._channels: set[str] = set()
        self._users: dict[str, str] = {}
        self._subscribed: dict[str, set[str]] = defaultdict(set)
        self._log = EventLogService(self.repository)
        self._broadcasts = ChannelBroadcastService(self.repository, broadcaster=self.sockets)
        self.agent = Agent(
            self.repository, self.sockets, script=script, asks=default_asks, model_id=MODEL
        )
        offer(self.repository, "clock", [CLOCK])
        offer(self.repository, "notes", [NOTES])
        self._websocket: Server = serve(
            self._connected, "127.0.0.1", 0, process_request=self._admit
        )
        self._http = ThreadingHTTPServer(("127.0.0.1", port), self._http_handler())
        self._http.daemon_threads = True
        origin = f"http://127.0.0.1:{self._http.server_port}"
        self.url = f"{origin}{STAGE}"
        self._sign_in = SignInServer(0, origins=[origin], users=USERS, token_of=token_of)
        websocket_port = self._websocket.socket.getsockname()[1]
        self.rest_api = RestApi(
            build_services(
                RestSettings(
                    websocket_callback_url="http://127.0.0.1:9",
                    allowed_models=MODEL,
                    cursor_secret_arn="unused",
                ),
                repository=self.repository,
                broadcaster=self.sockets,
                cursor_secret=lambda: b"a secret of the playground",
            ),
            allowed_origins=[],
        )
        self.web_settings = WebSettings(
            websocket_url=f"ws://127.0.0.1:{websocket_port}",
            sign_in_url="none",
            jwt_audience="client",
            demo_sign_in_url=self._sign_in.url,
        )

    @contextmanager
    def running(self) -> Iterator["Playground"]:
        servers: list[Server | ThreadingHTTPServer] = [self._websocket, self._http, self._sign_in]
        threads = [threading.Thread(target=each.serve_forever, daemon=True) for each in servers]
        threads.append(threading.Thread(target=self._deliver, daemon=True))
        self._running = True
        # The function's own broadcaster posts by HTTP, to a gateway that is not here.
        from websocket_session import composition, settings  # noqa: PLC0415
        from websocket_session import handler as session  # noqa: PLC0415

        deployed = session.services
        session.services = cache(
            lambda: composition.build_services(
                settings.SessionSettings(), repository=self.repository, broadcaster=self.sockets
            )
        )
        for thread in threads:
            thread.start()
        try:
            with self.agent.working():
                yield self
        finally:
            self._running = False
            session.services = deployed
            self.takes_sockets = False
            self.drop_sockets()
            # Until then a handler may be at work for a connection of this playground.
            with self._served:
                self._served.wait_for(lambda: self._serving == 0, timeout=10)
            for server in servers:
                server.shutdown()
            self._http.server_close()
            self._sign_in.server_close()

    def drop_sockets(self) -> None:
        for connection in list(self.sockets.open.values()):
            with suppress(OSError):
                # Closing alone would not wake the thread that reads.
                connection.socket.shutdown(socket.SHUT_RDWR)

    # -- HTTP

    def _http_handler(self) -> type[BaseHTTPRequestHandler]:
        playground = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length).decode() if length else None
                answer = playground.call(self.command, self.path, dict(self.headers), body)
                text = (answer["body"] or "").encode()
                self.send_response(answer["statusCode"])
                for name, values in answer["multiValueHeaders"].items():
                    self.send_header(name, values[-1])
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  # http.server's

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        return Handler

    def call(
        self, method: str, target: str, headers: dict[str, str], body: str | None
    ) -> dict[str, Any]:
        """As API Gateway would: pages without a token, the API with one."""
        path = target.removeprefix(STAGE)
        context = lambda_context()
        if not path.startswith("/v1/"):
            event = proxy_event(method, path or "/")
            event["requestContext"]["path"] = urlsplit(target).path
            service = WebClientService(self.repository, settings=self.web_settings)
            return WebApp(service, self.web_settings).handle(event, context)
        user = user_of(headers.get("authorization") or headers.get("Authorization"))
        if user is None and path != "/v1/health":
            problem = {"type": "urn:problem-type:chat:unauthenticated", "status": 401}
            return {
                "statusCode": 401,
                "body": json.dumps({**problem, "title": "A valid token is needed"}),
                "multiValueHeaders": {"Content-Type": ["application/problem+json"]},
            }
        event = proxy_event(
            method, path, user=user, name=(user or "").title(), body=body, headers=headers
        )
        answer = self.rest_api.handle(event, context)
        self._follow(method, path, answer)
        return answer

    def _follow(self, method: str, path: str, answer: dict[str, Any]) -> None:
        """What workers would do about a call."""
        parts = path.partition("?")[0].split("/")
        if method == "POST" and answer["statusCode"] == 202 and parts[-1] == "regenerate":
            self.agent.see_regenerations(parts[3])

    # -- WebSocket

    def _admit(self, connection: ServerConnection, request: Any) -> Any:
        from websocket_connect import handler  # noqa: PLC0415 - reads the environment set below

        connection_id = f"connection{next(self._numbers)}"
        query = dict(parse_qsl(urlsplit(request.path).query))
        event = connect_event(connection_id, query=query)
        if (
            not self.takes_sockets
            or handler.lambda_handler(event, lambda_context())["statusCode"] != 200
        ):
            return connection.respond(403, "")
        connection.connection_id = connection_id  # type: ignore[attr-defined]  # carried to _connected
        return None

    def _connected(self, connection: ServerConnection) -> None:
        from websocket_disconnect import handler as disconnecting  # noqa: PLC0415
        from websocket_sendmessage import handler as sending  # noqa: PLC0415
        from websocket_session import handler as others  # noqa: PLC0415

        connection_id: str = connection.connection_id  # type: ignore[attr-defined]  # set by _admit
        self.sockets.open[connection_id] = connection
        with self._served:
            self._serving += 1
        try:
            for message in connection:
                frame = json.loads(message)
                handler = sending if frame["action"] == "sendmessage" else others
                answer = handler.lambda_handler(
                    message_event(connection_id, str(message)), lambda_context()
                )
                if frame["action"] == "subscribe":
                    self._subscribed[connection_id].add(frame["channelId"])
                    self._channels.add(frame["channelId"])
                    self._tell_presence(connection_id, frame["channelId"], online=True)
                if answer.get("body"):
                    connection.send(answer["body"])
        except (ConnectionClosed, OSError):
            pass
        finally:
            del self.sockets.open[connection_id]
            for channel_id in self._subscribed.pop(connection_id, set()):
                self._tell_presence(connection_id, channel_id, online=False)
            disconnecting.lambda_handler(disconnect_event(connection_id), lambda_context())
            with self._served:
                self._serving -= 1
                self._served.notify_all()

    def _tell_presence(self, connection_id: str, channel_id: str, *, online: bool) -> None:
        from commons.services.connections import ConnectionsService  # noqa: PLC0415

        found = ConnectionsService(self.repository).find(connection_id)
        if found is not None:
            frame = encoded_frames.presence(channel_id, found.user_id, online=online)
            self._broadcasts.send(channel_id, frame)

    def _deliver(self) -> None:
        """What the log's stream drives: events to sockets, questions to the agent."""
        while self._running:
            for channel_id in list(self._channels):
                page = self._log.read(channel_id, after=self._heads[channel_id], limit=100)
                if not page.items:
                    continue
                self._heads[channel_id] = page.items[-1].seq
                self._broadcasts.send(channel_id, *encoded_frames.events(page.items))
                for event in page.items:
                    self.agent.see(event)
            time.sleep(0.01)


def lambda_context() -> LambdaContext:
    context = LambdaContext()
    context._function_name = "playground"
    context._memory_limit_in_mb = 1024
    context._invoked_function_arn = "arn:aws:lambda:eu-west-1:1:function:playground"
    context._aws_request_id = "request-1"
    return context
