"""The frames of a session, one schema an action."""

from typing import Annotated, Literal

from pydantic import Field

from commons.schemas.client_frames import ChannelId, ClientFrame
from commons.schemas.tool import ArgumentsDigest, CallId, Decision
from commons.schemas.types import Integral, Seq

MAX_EVENTS = 100
DEFAULT_EVENTS = 50
MAX_TOKEN = 16_384

After = Annotated[int, Field(ge=0, le=10**12, strict=True), Integral]
Limit = Annotated[int, Field(ge=1, le=MAX_EVENTS, strict=True), Integral]
Flag = Annotated[bool, Field(strict=True)]


class Subscribe(ClientFrame):
    """`after`: the number of the last event that the client holds."""

    action: Literal["subscribe"]
    channel_id: ChannelId
    after: After | None = None


class Unsubscribe(ClientFrame):
    action: Literal["unsubscribe"]
    channel_id: ChannelId


class Sync(ClientFrame):
    action: Literal["sync"]
    channel_id: ChannelId
    after: After
    limit: Limit | None = None


class Typing(ClientFrame):
    action: Literal["typing"]
    channel_id: ChannelId
    typing: Flag


class Read(ClientFrame):
    action: Literal["read"]
    channel_id: ChannelId
    seq: Seq


class Cancel(ClientFrame):
    action: Literal["cancel"]
    channel_id: ChannelId
    reply_to: Seq | None = None


class Decide(ClientFrame):
    action: Literal["decide"]
    channel_id: ChannelId
    call_id: CallId
    decision: Decision
    arguments_digest: ArgumentsDigest | None = None


class Authenticate(ClientFrame):
    action: Literal["authenticate"]
    token: Annotated[str, Field(min_length=1, max_length=MAX_TOKEN)]


class Ping(ClientFrame):
    action: Literal["ping"]
    heads: Flag | None = None
