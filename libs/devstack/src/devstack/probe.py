"""Asks a stage whether it serves, as a client would: for a scheduler, or for whoever is woken up."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import httpx
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

SECONDS = 10.0

REFUSALS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


@dataclass(frozen=True)
class Finding:
    """One thing that was asked; `failure` is None where it was right."""

    what: str
    milliseconds: float
    failure: str | None

    def __str__(self) -> str:
        outcome = "ok" if self.failure is None else f"FAILED: {self.failure}"
        return f"{self.what:<44} {self.milliseconds:7.0f} ms  {outcome}"


def probe(rest_url: str, websocket_url: str) -> list[Finding]:
    """Needs no credential and writes nothing.

    Each answer proves a part: health the API and its function, a call with a wrong token the
    authorizer and the issuer's keys, an unknown path the gateway's own answers, a handshake without
    a credential the WebSocket API and its function.
    """
    return [
        _timed("GET /v1/health: 200", lambda: _health(rest_url)),
        _timed("GET /v1/me with a wrong token: 401", lambda: _wrong_token(rest_url)),
        _timed("GET /v1/nothing: 404, a problem", lambda: _unknown_path(rest_url)),
        _timed("handshake without a credential: refused", lambda: _handshake(websocket_url)),
    ]


def _timed(what: str, ask: Callable[[], str | None]) -> Finding:
    started = time.perf_counter()
    try:
        failure = ask()
    except (httpx.HTTPError, OSError, TimeoutError) as error:
        failure = f"{type(error).__name__}: {error}"
    return Finding(what, (time.perf_counter() - started) * 1000, failure)


def _health(rest_url: str) -> str | None:
    answer = httpx.get(f"{rest_url}/v1/health", timeout=SECONDS)
    is_ok = answer.status_code == HTTPStatus.OK and answer.json().get("status") == "ok"
    return None if is_ok else f"{answer.status_code} {answer.text[:200]}"


def _wrong_token(rest_url: str) -> str | None:
    headers = {"Authorization": "Bearer probe"}
    answer = httpx.get(f"{rest_url}/v1/me", headers=headers, timeout=SECONDS)
    is_ok = answer.status_code == HTTPStatus.UNAUTHORIZED
    return None if is_ok else f"{answer.status_code} {answer.text[:200]}"


def _unknown_path(rest_url: str) -> str | None:
    answer = httpx.get(f"{rest_url}/v1/nothing", timeout=SECONDS)
    kind = answer.headers.get("content-type", "")
    if answer.status_code == HTTPStatus.NOT_FOUND and kind == "application/problem+json":
        return None
    return f"{answer.status_code} {kind}"


def _handshake(websocket_url: str) -> str | None:
    try:
        with connect(websocket_url, open_timeout=SECONDS, close_timeout=1):
            return "admitted"
    except InvalidStatus as refused:
        status = refused.response.status_code
        return None if status in REFUSALS else f"{status}"
