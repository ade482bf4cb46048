"""Every frame of the WebSocket API, as the document describes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from commons.schemas.base import BaseSchema
from commons.schemas.server_frames import (
    AckFrame,
    DeltaFrame,
    ErrorFrame,
    EventsFrame,
    PongFrame,
    PresenceFrame,
    ReadFrame,
    SyncFrame,
    TypingFrame,
    UnsubscribedFrame,
)
from rest_api.description import examples
from websocket_sendmessage.schemas import SendMessage
from websocket_session.schemas import (
    Authenticate,
    Cancel,
    Decide,
    Ping,
    Read,
    Subscribe,
    Sync,
    Typing,
    Unsubscribe,
)

type JsonObject = dict[str, Any]

_CHANNEL: JsonObject = {"channelId": examples.CHANNEL_ID}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFrame:
    """A frame that clients send.

    Attributes:
        answer: the frame that answers it; None where nothing does but an error.
    """

    schema: type[BaseSchema]
    summary: str
    description: str
    example: JsonObject
    answer: type[BaseSchema] | None = AckFrame

    @property
    def action(self) -> str:
        action: str = self.example["action"]
        return action


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFrame:
    """A frame that the server sends.

    Attributes:
        is_answer: whether it only answers, and never comes by itself.
    """

    schema: type[BaseSchema]
    summary: str
    description: str
    examples: Sequence[JsonObject]
    is_answer: bool = False

    @property
    def type(self) -> str:
        kind: str = self.examples[0]["type"]
        return kind


CLIENT_FRAMES: Sequence[ClientFrame] = (
    ClientFrame(
        schema=SendMessage,
        summary="Post a message",
        description="The ack says the message's `seq`. With a `clientMessageId` the frame is safe "
        "to repeat, however late: `duplicate` is then true and nothing was written. Messages are "
        "appended in the order sent only if the client awaits each ack.",
        example={
            "action": "sendmessage",
            "requestId": "1",
            **_CHANNEL,
            "text": "When do we ship?",
            "clientMessageId": "c6a1f0d2-1",
        },
    ),
    ClientFrame(
        schema=Subscribe,
        summary="Get a channel's events from now on, or from one of its numbers on",
        description="With `after`, the events after that number come first, in order, at most 1,000 "
        "or 1 MB of them; the ack says `through` and `hasMore`: go on with `sync`.",
        example={"action": "subscribe", "requestId": "2", **_CHANNEL, "after": 10},
    ),
    ClientFrame(
        schema=Unsubscribe,
        summary="Get nothing more of a channel",
        description="",
        example={"action": "unsubscribe", "requestId": "3", **_CHANNEL},
    ),
    ClientFrame(
        schema=Sync,
        summary="Read a stretch of a channel's log",
        description="What fills a gap: the answer holds the events after `after`, ascending.",
        example={"action": "sync", "requestId": "4", **_CHANNEL, "after": 10, "limit": 100},
        answer=SyncFrame,
    ),
    ClientFrame(
        schema=Typing,
        summary="Say that the user is typing, or no longer",
        description="Not answered. Others in the channel get the latest state, one every 2 s at most.",
        example={"action": "typing", **_CHANNEL, "typing": True},
        answer=None,
    ),
    ClientFrame(
        schema=Read,
        summary="Move the user's read mark",
        description="A mark never moves back. Others in the channel get a `read` frame.",
        example={"action": "read", "requestId": "5", **_CHANNEL, "seq": 12},
    ),
    ClientFrame(
        schema=Cancel,
        summary="Stop the agent's replies",
        description="Those that are queued or being written, or the one to `replyTo`, end within "
        "2 s in a message with what was written.",
        example={"action": "cancel", "requestId": "6", **_CHANNEL, "replyTo": 12},
    ),
    ClientFrame(
        schema=Decide,
        summary="Approve or deny a call of a tool",
        description="Once, by whoever the call's `approval` names. The ack holds the `tool.decided` "
        "that stands; the same decision by the same person again is answered alike. Decided before: "
        "an error (409) that says `decision` and `decidedBy`.",
        example={
            "action": "decide",
            "requestId": "9",
            **_CHANNEL,
            "callId": examples.CALL_ID,
            "decision": "approve",
        },
    ),
    ClientFrame(
        schema=Authenticate,
        summary="Let the connection live as long as a fresh token",
        description="The token is the same user's. The ack says `expiresAt`.",
        example={
            "action": "authenticate",
            "requestId": "7",
            "token": "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
        },
    ),
    ClientFrame(
        schema=Ping,
        summary="Keep the connection open, and see whether a push got lost",
        description="With `heads`, the answer holds the last `seq` of each of the connection's "
        "channels. AWS ends a connection after 10 silent minutes: ping at least every 5.",
        example={"action": "ping", "requestId": "8", "heads": True},
        answer=PongFrame,
    ),
)

SERVER_FRAMES: Sequence[ServerFrame] = (
    ServerFrame(
        schema=EventsFrame,
        summary="Events, as they happen",
        description="Of one or several channels, each channel's ascending by `seq`. Repeats may come "
        "at any time; a jump is a gap, which `sync` fills.",
        examples=[{"type": "events", "events": [examples.EVENT]}],
    ),
    ServerFrame(
        schema=DeltaFrame,
        summary="A piece of the agent's reply while it is written",
        description="`index` counts 0, 1, 2 …; all `text` in order is exactly the final event's text. "
        "`snapshot: true`: its text replaces all before it, and the next has `index` + 1. After the "
        "final event or `agent.failed` of a generation its deltas are to be ignored.",
        examples=[
            {
                "type": "delta",
                **_CHANNEL,
                "replyTo": 12,
                "generation": 1,
                "index": 0,
                "text": "Next ",
            },
            {
                "type": "delta",
                **_CHANNEL,
                "replyTo": 12,
                "generation": 1,
                "index": 7,
                "text": "Next week, if ",
                "snapshot": True,
            },
        ],
    ),
    ServerFrame(
        schema=PresenceFrame,
        summary="Somebody came or went",
        description="Online at a user's first live subscription to the channel, offline 5 s after the "
        "last. Above 200 live connections a channel's presence is asked for, not pushed.",
        examples=[{"type": "presence", **_CHANNEL, "userId": "bob", "online": True}],
    ),
    ServerFrame(
        schema=TypingFrame,
        summary="Somebody is typing, or no longer",
        description="",
        examples=[{"type": "typing", **_CHANNEL, "userId": "bob", "typing": True}],
    ),
    ServerFrame(
        schema=ReadFrame,
        summary="Somebody's read mark moved",
        description="",
        examples=[{"type": "read", **_CHANNEL, "userId": "bob", "seq": 12}],
    ),
    ServerFrame(
        schema=UnsubscribedFrame,
        summary="The last frame about a channel",
        description="`removed`: the user is no member any more. `deleted`: the channel is gone.",
        examples=[{"type": "unsubscribed", **_CHANNEL, "reason": "removed"}],
    ),
    ServerFrame(
        schema=AckFrame,
        summary="What was asked for is done",
        description="Which fields it has depends on the action that it answers.",
        examples=[
            {"type": "ack", "requestId": "1", **_CHANNEL, "seq": 12, "duplicate": False},
            {"type": "ack", "requestId": "2", **_CHANNEL, "online": ["alice", "bob"]},
            {
                "type": "ack",
                "requestId": "2",
                **_CHANNEL,
                "through": 12,
                "hasMore": False,
                "online": ["alice", "bob"],
            },
            {"type": "ack", "requestId": "7", "expiresAt": "2026-03-01T10:05:00.000Z"},
            {"type": "ack", "requestId": "9", **_CHANNEL, "seq": 14, "event": examples.DECIDED},
        ],
        is_answer=True,
    ),
    ServerFrame(
        schema=SyncFrame,
        summary="A stretch of a channel's log",
        description="Gap-free. It may hold fewer events than were asked for: `hasMore` is right.",
        examples=[
            {
                "type": "sync",
                "requestId": "4",
                **_CHANNEL,
                "items": [examples.EVENT],
                "lastSeq": 12,
                "hasMore": False,
            }
        ],
        is_answer=True,
    ),
    ServerFrame(
        schema=PongFrame,
        summary="The answer to a ping",
        description="",
        examples=[{"type": "pong", "requestId": "8", "heads": {examples.CHANNEL_ID: 12}}],
        is_answer=True,
    ),
    ServerFrame(
        schema=ErrorFrame,
        summary="What was asked for is refused",
        description="A bad frame, an unknown action, a missing right. The connection stays open.",
        examples=[{"type": "error", "requestId": "1", "error": examples.PROBLEMS[404]}],
        is_answer=True,
    ),
)
