"""The server's frames. What is no frame, or of an unknown type, is None: it is skipped."""

import json
import logging
from datetime import datetime
from typing import Literal, Self

from pydantic import JsonValue, PrivateAttr, ValidationError

from chat_client.errors import EndReason, Problem
from chat_client.models import AnyEvent, Wire

logger = logging.getLogger("chat_client")


class _Sized(Wire):
    _size: int = PrivateAttr(0)

    @property
    def size(self) -> int:
        """Of the frame's JSON, in characters."""
        return self._size

    def sized(self, size: int) -> Self:
        self._size = size
        return self


class EventsFrame(_Sized):
    type: Literal["events"]
    events: list[AnyEvent]


class ChannelFrame(Wire):
    """A frame about one channel that is no event."""

    channel_id: str


class DeltaFrame(ChannelFrame):
    """A piece of a reply; `snapshot` replaces all before it."""

    type: Literal["delta"]
    reply_to: int
    generation: int
    index: int
    text: str
    snapshot: bool = False


class PresenceFrame(ChannelFrame):
    type: Literal["presence"]
    user_id: str
    online: bool


class TypingFrame(ChannelFrame):
    type: Literal["typing"]
    user_id: str
    typing: bool


class ReadFrame(ChannelFrame):
    type: Literal["read"]
    user_id: str
    seq: int


class UnsubscribedFrame(ChannelFrame):
    type: Literal["unsubscribed"]
    reason: EndReason


class AckFrame(Wire):
    """`through` and `has_more` come with `subscribe`'s; `online` where the server says it.

    `event` comes with `decide`'s.
    """

    type: Literal["ack"]
    request_id: str | None = None
    channel_id: str | None = None
    seq: int | None = None
    duplicate: bool | None = None
    through: int | None = None
    has_more: bool | None = None
    online: list[str] | None = None
    expires_at: datetime | None = None
    event: AnyEvent | None = None


class SyncFrame(_Sized):
    type: Literal["sync"]
    request_id: str | None = None
    channel_id: str
    items: list[AnyEvent]
    last_seq: int
    has_more: bool


class PongFrame(Wire):
    type: Literal["pong"]
    request_id: str | None = None
    heads: dict[str, int] | None = None


class ErrorFrame(Wire):
    type: Literal["error"]
    request_id: str | None = None
    error: Problem


type AnswerFrame = AckFrame | SyncFrame | PongFrame | ErrorFrame

_FRAMES: dict[str, type[Wire]] = {
    "ack": AckFrame,
    "delta": DeltaFrame,
    "error": ErrorFrame,
    "events": EventsFrame,
    "pong": PongFrame,
    "presence": PresenceFrame,
    "read": ReadFrame,
    "sync": SyncFrame,
    "typing": TypingFrame,
    "unsubscribed": UnsubscribedFrame,
}


def parse_frame(message: str | bytes) -> Wire | None:
    """The frame as the model of its type."""
    try:
        raw: JsonValue = json.loads(message)
    except ValueError:
        return None
    model = _FRAMES.get(str(raw.get("type"))) if isinstance(raw, dict) else None
    if model is None:
        return None
    try:
        frame = model.model_validate(raw)
    except ValidationError as error:
        places = [entry["loc"] for entry in error.errors()]
        logger.warning("skipped a %s frame that does not fit: %s", model.__name__, places)
        return None
    return frame.sized(len(message)) if isinstance(frame, _Sized) else frame


def encode(frame: dict[str, JsonValue]) -> str:
    """Unescaped JSON: what counts against the frame limit is UTF-8."""
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
