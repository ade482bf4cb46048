"""A user's REST calls and handshakes, tried again where a worker died under them."""

import time
from typing import Any
from urllib.parse import urlencode

import httpx
from tests.soak.notes import Notes
from tests.soak.reaper import Reaper
from tests.soak.socket import SoakSocket
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

from devstack.outputs import Outputs
from devstack.users import Users

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.3
FRONT_DOOR = ("rest_api", "rest_authorizer")
HANDSHAKE = ("websocket_connect", "rest_authorizer")


class Caller:
    """One user. A refusal of a valid token or ticket is a violation.

    Args:
        outputs: where the stack is.
        users: gives tokens.
        user: who calls.
        notes: take what happens.
        reaper: knows which errors have a cause.
        patience: seconds for which a call is tried again.
    """

    def __init__(
        self,
        outputs: Outputs,
        users: Users,
        user: str,
        notes: Notes,
        reaper: Reaper,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.user = user
        self._patience = patience
        self._outputs = outputs
        self._users = users
        self._notes = notes
        self._reaper = reaper
        self._http = httpx.Client(timeout=40)
        self._token = users.token(user)

    def close(self) -> None:
        self._http.close()

    def renew_token(self) -> None:
        self._token = self._users.token(self.user)

    def call(
        self, method: str, path: str, *expected: int, **request: Any
    ) -> tuple[httpx.Response, bool]:
        """The answer, once one of these comes, and whether it was the first try's."""
        deadline = time.monotonic() + self._patience
        is_first = True
        while True:
            response = self._once(method, path, request)
            if response is not None and response.status_code in expected:
                return response, is_first
            if response is not None and not _is_passing(response.status_code):
                detail = f"{method} {path}: {response.status_code} {response.text[:200]}"
                self._notes.violated(f"unexpected answer: {detail}")
                raise AssertionError(detail)
            assert time.monotonic() < deadline, (method, path, response and response.text)
            is_first = False
            time.sleep(PAUSE_SECONDS)

    def _once(self, method: str, path: str, request: dict[str, Any]) -> httpx.Response | None:
        began = time.time()
        url = f"{self._outputs.rest_url}/v1{path}"
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            response = self._http.request(method, url, headers=headers, **request)
        except httpx.TransportError:
            self._notes.count("calls that broke off")
            return None
        status = response.status_code
        if status == httpx.codes.UNAUTHORIZED:
            self._notes.violated(f"valid token refused: {method} {path}: {response.text[:200]}")
        if _is_passing(status):
            self._notes.count(f"answers {status}")
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            is_told = (
                status == httpx.codes.SERVICE_UNAVAILABLE and "retry-after" in response.headers
            )
            if not is_told and not self._is_explained(FRONT_DOOR, began):
                text = response.text[:200]
                self._notes.violated(f"{status} though nobody died: {method} {path}: {text}")
        return response

    def connect(self, *channels: str, by_ticket: bool) -> SoakSocket | None:
        """An open line, subscribed to channels; None where a worker died under the handshake."""
        query: dict[str, str] = {"channels": ",".join(channels)} if channels else {}
        headers: dict[str, str] = {}
        if by_ticket:
            query["ticket"] = self.call("POST", "/tickets", 201)[0].json()["ticket"]
        else:
            headers["Authorization"] = f"Bearer {self._token}"
        began = time.time()
        try:
            connection = connect(
                f"{self._outputs.websocket_url}?{urlencode(query, safe=',')}",
                additional_headers=headers,
                open_timeout=40,
                close_timeout=2,
                max_size=None,
                ping_interval=None,
            )
        except (InvalidHandshake, OSError, TimeoutError) as error:
            # The emulator answers 403 where `$connect` died, too.
            if not self._is_explained(HANDSHAKE, began):
                status = error.response.status_code if isinstance(error, InvalidStatus) else error
                credential = "ticket" if by_ticket else "token"
                self._notes.violated(f"valid {credential} refused at the handshake: {status!r}")
            self._notes.count("handshakes that broke off")
            return None
        self._notes.count("handshakes by ticket" if by_ticket else "handshakes by token")
        return SoakSocket(connection, self._notes)

    def _is_explained(self, functions: tuple[str, ...], began: float) -> bool:
        now = time.time()
        return any(self._reaper.has_hit(function, began, now) for function in functions)


def _is_passing(status: int) -> bool:
    return status >= httpx.codes.INTERNAL_SERVER_ERROR or status in {
        httpx.codes.TOO_MANY_REQUESTS,
        httpx.codes.UNAUTHORIZED,
    }
