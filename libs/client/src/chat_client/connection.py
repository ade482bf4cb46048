"""One open WebSocket: frames go out, answers find who asked."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Final

from pydantic import JsonValue
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from chat_client.errors import ChatError, ProtocolError
from chat_client.frames import (
    AckFrame,
    AnswerFrame,
    ErrorFrame,
    PongFrame,
    SyncFrame,
    encode,
    parse_frame,
)
from chat_client.models import Wire

MAX_FRAME_BYTES: Final = 32_768
"""Of a client's frame; API Gateway closes the connection above."""


UNAUTHENTICATED: Final = 401


class ConnectionLostError(ChatError):
    """The connection ended, or is as good as ended; whether a frame arrived is not known."""


class Connection:
    """Asks and is answered, until the socket closes.

    Args:
        answer_seconds: a question without an answer for so long means that the line is dead.
        expires_at: epoch seconds of the token that opened it; None where it does not say.
    """

    def __init__(
        self, socket: ClientConnection, *, answer_seconds: float, expires_at: float | None
    ) -> None:
        self._socket = socket
        self._answer_seconds = answer_seconds
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[AnswerFrame]] = {}
        self.expires_at = expires_at
        self.was_answered = False

    async def pushes(self) -> AsyncIterator[Wire]:
        """Every frame that is not an answer, until the connection ends."""
        try:
            async for message in self._socket:
                frame = parse_frame(message)
                if isinstance(frame, AckFrame | SyncFrame | PongFrame | ErrorFrame):
                    self._answered(frame)
                elif frame is not None:
                    yield frame
        except ConnectionClosed:
            pass
        finally:
            self.lost()

    async def tell(self, action: str, **fields: JsonValue) -> None:
        """Sends a frame that has no answer."""
        await self._send({"action": action, **fields})

    async def ask(self, action: str, **fields: JsonValue) -> AnswerFrame:
        """Sends a frame and waits for its answer.

        Raises:
            ConnectionLostError: none came.
            ChatError: the answer is an error frame.
        """
        request_id = str(next(self._numbers))
        answer: asyncio.Future[AnswerFrame] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            await self._send({"action": action, "requestId": request_id, **fields})
            done, _ = await asyncio.wait([answer], timeout=self._answer_seconds)
            if not done:
                self._socket.transport.abort()
                raise ConnectionLostError(f"No answer to {action}.")
            frame = answer.result()
        finally:
            self._waiting.pop(request_id, None)
            answer.cancel()
        if isinstance(frame, ErrorFrame):
            if frame.error.status == UNAUTHENTICATED and action != "authenticate":
                # The connection outlived its token. The next one shows whether there is another.
                self._socket.transport.abort()
                raise ConnectionLostError("The connection's token has expired.")
            raise ChatError.of(frame.error)
        return frame

    async def ask_ack(self, action: str, **fields: JsonValue) -> AckFrame:
        """As `ask`, where the answer is an ack."""
        frame = await self.ask(action, **fields)
        if not isinstance(frame, AckFrame):
            raise ProtocolError(f"{action} was answered by a {frame.type} frame.")
        return frame

    def lost(self) -> None:
        """Nothing more comes: tells whoever waits."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionLostError("The connection was lost."))

    async def _send(self, frame: dict[str, JsonValue]) -> None:
        try:
            await self._socket.send(encode(frame))
        except ConnectionClosed:
            raise ConnectionLostError("The connection was lost.") from None

    def _answered(self, frame: AnswerFrame) -> None:
        self.was_answered = True
        answer = self._waiting.get(frame.request_id or "")
        if answer is not None and not answer.done():
            answer.set_result(frame)


def fits_a_frame(frame: dict[str, JsonValue]) -> bool:
    """Whether it may be sent, its request id included."""
    return len(encode({**frame, "requestId": "0" * 20}).encode(errors="replace")) <= MAX_FRAME_BYTES
