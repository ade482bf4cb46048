"""API Gateway as the functions meet it: its events, and its management API on a local port."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Literal

from commons.websocket.frame_handler import SocketEvent, SocketResponse

type Frame = dict[str, Any]


def _context(
    connection_id: str, event_type: Literal["CONNECT", "MESSAGE", "DISCONNECT"], route: str
) -> dict[str, Any]:
    now = int(time.time() * 1000)
    return {
        "routeKey": route,
        "eventType": event_type,
        "extendedRequestId": "Jk0lQFxUDoEFnHg=",
        "requestTime": "01/Jan/2026:00:00:00 +0000",
        "messageDirection": "IN",
        "stage": "test",
        "connectedAt": now - 60_000,
        "requestTimeEpoch": now,
        "identity": {"sourceIp": "192.0.2.1", "userAgent": "test"},
        "requestId": "Jk0lQE5njoEF0Rg=",
        "domainName": "abc123.execute-api.eu-west-1.amazonaws.com",
        "connectionId": connection_id,
        "apiId": "abc123",
    }


def connect_event(
    connection_id: str,
    *,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> SocketEvent:
    sent = {"Host": "abc123.execute-api.eu-west-1.amazonaws.com", **(headers or {})}
    event: Any = {
        "headers": sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "requestContext": _context(connection_id, "CONNECT", "$connect"),
        "isBase64Encoded": False,
    }
    if query is not None:
        event["queryStringParameters"] = query
        event["multiValueQueryStringParameters"] = {name: [value] for name, value in query.items()}
    typed: SocketEvent = event
    return typed


def message_event(connection_id: str, body: str | Frame, *, route: str = "$default") -> SocketEvent:
    event: Any = {
        "requestContext": _context(connection_id, "MESSAGE", route)
        | {"messageId": "Jk0lQcN0DoECHXg="},
        "body": body if isinstance(body, str) else json.dumps(body, ensure_ascii=False),
        "isBase64Encoded": False,
    }
    typed: SocketEvent = event
    return typed


def disconnect_event(connection_id: str) -> SocketEvent:
    event: Any = {
        "headers": {"Host": "abc123.execute-api.eu-west-1.amazonaws.com", "x-api-key": ""},
        "multiValueHeaders": {},
        "requestContext": _context(connection_id, "DISCONNECT", "$disconnect")
        | {"disconnectStatusCode": 1001, "disconnectReason": "Going away"},
        "isBase64Encoded": False,
    }
    typed: SocketEvent = event
    return typed


def frame_of(response: SocketResponse) -> Frame:
    """The frame that the route answers with."""
    assert response["statusCode"] == 200
    frame: Frame = json.loads(response["body"])
    return frame


def error_of(response: SocketResponse) -> Frame:
    frame = frame_of(response)
    assert frame["type"] == "error"
    problem: Frame = frame["error"]
    return problem


@dataclass
class ManagementApi:
    """Takes what is posted to connections; those in `gone` answer 410."""

    url: str = ""
    posted: dict[str, list[str]] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    refusing: int | None = None

    def frames(self, connection_id: str) -> list[Frame]:
        return [json.loads(body) for body in self.posted.get(connection_id, [])]

    def answer(self, method: str, connection_id: str, body: bytes) -> int:
        if self.refusing is not None:
            return self.refusing
        if connection_id in self.gone:
            return 410
        if method == "POST":
            self.posted.setdefault(connection_id, []).append(body.decode())
        if method == "DELETE":
            self.closed.append(connection_id)
            return 204
        return 200


@contextmanager
def served_management_api() -> Iterator[ManagementApi]:
    api = ManagementApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            found = re.fullmatch(r"/test/@connections/([^/]+)", self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status = api.answer(self.command, found.group(1), body) if found else 404
            text = b'{"message":"gone"}' if status == 410 else b"{}"
            self.send_response(status)
            if status == 410:
                self.send_header("x-amzn-errortype", "GoneException")
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "0" if status == 204 else str(len(text)))
            self.end_headers()
            if status != 204:
                self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815  # the names http.server calls

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}/test"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
