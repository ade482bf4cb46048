"""The user pool's hosted pages, as far as a browser meets them: authorization code with PKCE."""

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.browser.playground import token_of

CLIENT_ID = "client"


class HostedPage(ThreadingHTTPServer):
    """Signs alice in without a question.

    Attributes:
        token_seconds: how long the tokens that it gives live.
        granted: the grants that it honoured.
        tampers: whether it sends the browser back with a state that the page did not choose.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token_seconds = 3_600
        self.granted: list[str] = []
        self.tampers = False
        self.codes: dict[str, dict[str, str]] = {}
        self.refresh_token = secrets.token_urlsafe()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def running(self) -> Iterator["HostedPage"]:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser is sent back to."""
        code = secrets.token_urlsafe()
        self.codes[code] = query
        state = "another" if self.tampers else query["state"]
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': state})}"

    def exchange(self, form: dict[str, str]) -> dict[str, str] | None:
        if form.get("client_id") != CLIENT_ID or not self._is_honoured(form):
            return None
        self.granted.append(form["grant_type"])
        token = token_of("alice", seconds=self.token_seconds)
        return {"access_token": token, "refresh_token": self.refresh_token}

    def _is_honoured(self, form: dict[str, str]) -> bool:
        if form["grant_type"] == "refresh_token":
            return form["refresh_token"] == self.refresh_token
        request = self.codes.pop(form["code"], {})
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return (
            request["response_type"] == "code"
            and request["code_challenge_method"] == "S256"
            and request["code_challenge"] == challenge
            and request["redirect_uri"] == form["redirect_uri"]
        )


class _Handler(BaseHTTPRequestHandler):
    server: HostedPage

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        if url.path == "/oauth2/authorize":
            self._send(302, {"Location": self.server.authorize(query)})
        elif url.path == "/logout":
            self._send(302, {"Location": query["logout_uri"]})
        else:
            self._send(404, {})

    def do_POST(self) -> None:
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        answer = self.server.exchange(form)
        status = 400 if answer is None else 200
        headers = {"Access-Control-Allow-Origin": "*", "Content-Type": "application/json"}
        self._send(status, headers, json.dumps(answer or {"error": "invalid_grant"}).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass
