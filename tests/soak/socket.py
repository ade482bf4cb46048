"""A WebSocket that notes when each event came first, and stands gateway errors."""

import contextlib
import json
import threading
import time
import uuid
from typing import Any

from tests.e2e.clients import Json
from tests.soak.notes import Notes
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

ANSWER_SECONDS = 20.0


class GatewayError(Exception):
    """The worker died with the frame, or nobody answered: the caller tries again."""


class SoakSocket:
    """One person's line. Whoever asks waits for the answer before the next question.

    Attributes:
        first_seen: of each channel, when each of its events came first, in the order they came.
        closed_at: when it was over, by whomever; None while it is open.
        hung_up: that was us.
    """

    def __init__(self, connection: ClientConnection, notes: Notes) -> None:
        self._connection = connection
        self._notes = notes
        self._answers: dict[str, Json] = {}
        self._gateway_errors = 0
        self._changed = threading.Condition()
        self.first_seen: dict[str, dict[int, float]] = {}
        self.closed_at: float | None = None
        self.hung_up = False
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, action: str, **fields: Any) -> Json:
        """The frame that answers.

        Raises:
            GatewayError: none came.
        """
        request_id = uuid.uuid4().hex
        before = self._gateway_errors
        try:
            self._connection.send(json.dumps({"action": action, "requestId": request_id, **fields}))
        except ConnectionClosed:
            raise GatewayError from None
        with self._changed:
            self._changed.wait_for(
                lambda: request_id in self._answers
                or self._gateway_errors > before
                or self.closed_at is not None,
                ANSWER_SECONDS,
            )
            if request_id not in self._answers:
                raise GatewayError
            return self._answers.pop(request_id)

    def hang_up(self) -> None:
        self.hung_up = True
        with contextlib.suppress(ConnectionClosed):
            self._connection.close()

    def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for message in self._connection:
                self._take(message)
        with self._changed:
            self.closed_at = time.time()
            self._changed.notify_all()

    def _take(self, message: str | bytes) -> None:
        now = time.time()
        try:
            frame = json.loads(message)
        except ValueError:
            frame = {}
        with self._changed:
            match frame.get("type"):
                case "events":
                    for event in frame["events"]:
                        seen = self.first_seen.setdefault(event["channelId"], {})
                        seen.setdefault(event["seq"], now)
                case "delta":
                    self._notes.heard(
                        frame["channelId"], frame["replyTo"], frame["generation"], now
                    )
                case None:
                    # The emulator sends what a dead worker's error says, AWS an object of its own.
                    self._gateway_errors += 1
                case _ if "requestId" in frame:
                    self._answers[frame["requestId"]] = frame
            self._changed.notify_all()
