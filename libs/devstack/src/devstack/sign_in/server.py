"""Answers tokens of demo users to the web client of one local stack, and to nobody else."""

import json
from collections.abc import Callable, Collection
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pydantic import BaseModel, ValidationError

HOST = "127.0.0.1"
MAX_BODY = 1_000


class _Ask(BaseModel):
    user: str


class SignInServer(ThreadingHTTPServer):
    """Listens on the loopback.

    A page of another origin gets nothing: its browser asks first (a JSON body is preflighted), and
    is refused. Nor does one that a foreign name leads here: the `Host` must be this address.

    Args:
        port: 0 takes a free one.
        origins: of the pages that may ask.
        users: whom it signs in.
        token_of: a token for a user; what it raises is answered with 503.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True

    def __init__(
        self,
        port: int,
        *,
        origins: Collection[str],
        users: Collection[str],
        token_of: Callable[[str], str],
    ) -> None:
        self.origins = frozenset(origins)
        self.users = list(users)
        self.token_of = token_of
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: SignInServer

    def do_OPTIONS(self) -> None:
        if self._is_admitted():
            self._answer(HTTPStatus.NO_CONTENT)

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(HTTPStatus.OK, {"status": "ok"})
        elif self._is_admitted():
            if self.path == "/users":
                self._answer(HTTPStatus.OK, {"users": self.server.users})
            else:
                self._answer(HTTPStatus.NOT_FOUND, {})

    def do_POST(self) -> None:
        if not self._is_admitted():
            return
        if self.path != "/token":
            self._answer(HTTPStatus.NOT_FOUND, {})
            return
        user = self._asked_user()
        if user is None:
            self._answer(HTTPStatus.UNPROCESSABLE_ENTITY, {})
            return
        try:
            token = self.server.token_of(user)
        except Exception as error:  # noqa: BLE001 - whatever it is, the page says that it failed
            self.log_error("no token for %s: %s", user, type(error).__name__)
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {})
            return
        self._answer(HTTPStatus.OK, {"token": token})

    def _is_admitted(self) -> bool:
        is_here = self.headers.get("Host") == f"{HOST}:{self.server.server_port}"
        is_admitted = is_here and self.headers.get("Origin") in self.server.origins
        if not is_admitted:
            self._answer(HTTPStatus.FORBIDDEN, {})
        return is_admitted

    def _asked_user(self) -> str | None:
        length = int(self.headers.get("Content-Length") or 0)
        is_json = self.headers.get_content_type() == "application/json"
        if not is_json or not 0 < length <= MAX_BODY:
            return None
        try:
            user = _Ask.model_validate_json(self.rfile.read(length)).user
        except ValidationError:
            return None
        return user if user in self.server.users else None

    def _answer(self, status: HTTPStatus, body: object = None) -> None:
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Vary", "Origin")
        origin = self.headers.get("Origin")
        if origin in self.server.origins:
            self.send_header("Access-Control-Allow-Origin", origin)
            self.send_header("Access-Control-Allow-Headers", "content-type")
            self.send_header("Access-Control-Max-Age", "600")
        if text:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Only errors are worth a line."""

    def log_error(self, format: str, *args: object) -> None:  # noqa: A002
        super().log_message(format, *args)
