"""Frames as the server sends them (CONTRACT, section 3): `type` tells them apart."""

from typing import Any, Literal

from commons.schemas.base import BaseSchema
from commons.schemas.event import AnyEvent

type UnsubscribedReason = Literal["removed", "deleted"]


class EventsFrame(BaseSchema):
    """Events of one or several channels, each channel's ascending."""

    type: Literal["events"] = "events"
    events: list[AnyEvent]


class DeltaFrame(BaseSchema):
    """A piece of a reply while it is written; `snapshot` replaces all before it."""

    type: Literal["delta"] = "delta"
    channel_id: str
    reply_to: int
    generation: int
    index: int
    text: str
    snapshot: Literal[True] | None = None


class PresenceFrame(BaseSchema):
    type: Literal["presence"] = "presence"
    channel_id: str
    user_id: str
    online: bool


class TypingFrame(BaseSchema):
    type: Literal["typing"] = "typing"
    channel_id: str
    user_id: str
    typing: bool


class ReadFrame(BaseSchema):
    type: Literal["read"] = "read"
    channel_id: str
    user_id: str
    seq: int


class UnsubscribedFrame(BaseSchema):
    """The last frame about its channel."""

    type: Literal["unsubscribed"] = "unsubscribed"
    channel_id: str
    reason: UnsubscribedReason


class AckFrame(BaseSchema):
    """Answers a client frame; which optional fields it has depends on the action.

    `online` comes with `subscribe`'s: users with a live subscription, 200 at most, sorted.
    `event` comes with `decide`'s: the `tool.decided` that stands.
    """

    type: Literal["ack"] = "ack"
    request_id: str | None = None
    channel_id: str | None = None
    seq: int | None = None
    duplicate: bool | None = None
    through: int | None = None
    has_more: bool | None = None
    expires_at: str | None = None
    online: list[str] | None = None
    event: AnyEvent | None = None


class SyncFrame(BaseSchema):
    type: Literal["sync"] = "sync"
    request_id: str | None = None
    channel_id: str
    items: list[AnyEvent]
    last_seq: int
    has_more: bool


class PongFrame(BaseSchema):
    """`heads` maps each of the connection's channels to its last seq."""

    type: Literal["pong"] = "pong"
    request_id: str | None = None
    heads: dict[str, int] | None = None


class ErrorFrame(BaseSchema):
    """`error` is an RFC 9457 problem."""

    type: Literal["error"] = "error"
    request_id: str | None = None
    error: dict[str, Any]
