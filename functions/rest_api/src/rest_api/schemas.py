"""Requests and answers that the REST API alone has."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    WithJsonSchema,
    model_serializer,
)

from commons.records.generation import OpenStatus
from commons.schemas import BaseSchema
from commons.schemas.channel import AgentChanges, Channel, Member
from commons.schemas.event import ReadApprovalRule, Role
from commons.schemas.message import Message
from commons.schemas.tool import ArgumentsDigest, Decision
from commons.schemas.types import ChannelName, Emoji, Integral, MessageText, Seq, UserId

MAX_FIRST_MEMBERS = 40
MAX_IDEMPOTENCY_KEY = 128
DEFAULT_LIMIT = 50
MAX_LIMIT = 100
_MAX_DIGITS = 13


def _decimal(value: object) -> object:
    """A query parameter is text; only plain digits are a number."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return int(value)
    return value


def _a_day(day: str) -> str:
    date.fromisoformat(day)
    return day


Limit = Annotated[int, Field(strict=True, ge=1, le=MAX_LIMIT), BeforeValidator(_decimal)]
QuerySeq = Annotated[int, Field(strict=True, ge=0, le=10**12), BeforeValidator(_decimal)]


Cursor = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1})]
"""Described only: whatever is no cursor, the empty one too, is refused where it is decoded."""


class NoQuery(BaseSchema):
    """The query of a route that has no parameters."""


class Health(BaseSchema):
    status: Literal["ok"] = "ok"
    version: str


class Me(BaseSchema):
    user_id: str
    name: str | None = None


class CreateChannel(BaseSchema):
    name: ChannelName
    members: Annotated[list[UserId], Field(max_length=MAX_FIRST_MEMBERS)] | None = None
    agent: AgentChanges | None = None


class UpdateChannel(BaseSchema):
    name: ChannelName | None = None
    agent: AgentChanges | None = None


class PutMember(BaseSchema):
    role: Role


class MemberPath(BaseSchema):
    user_id: UserId


class ReactionPath(BaseSchema):
    emoji: Emoji


class EditMessage(BaseSchema):
    text: MessageText


class MarkRead(BaseSchema):
    seq: Annotated[int, Field(strict=True, ge=0, le=10**12), Integral]


class CancelGenerations(BaseSchema):
    reply_to: Seq | None = None


class PageQuery(BaseSchema):
    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


class MessagesQuery(PageQuery):
    before: QuerySeq | None = None
    after: QuerySeq | None = None


class EventsQuery(BaseSchema):
    after: QuerySeq = 0
    limit: Limit = DEFAULT_LIMIT


class CursorPage(BaseSchema):
    """A page of a list; `nextCursor` is null at the end, and always there."""

    next_cursor: Annotated[str | None, WithJsonSchema({"type": ["string", "null"]})]

    @model_serializer(mode="wrap")
    def _with_next_cursor(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {**handler(self), "nextCursor": self.next_cursor}


class ChannelPage(CursorPage):
    items: list[Channel]


class MemberPage(CursorPage):
    items: list[Member]


class MessagePage(CursorPage):
    items: list[Message]


class Presence(BaseSchema):
    """A user with a live subscription to the channel, and how many."""

    user_id: str
    connections: int
    last_seen_at: str | None = None


class OpenGenerationView(BaseSchema):
    """A reply that no event has ended yet; what is not listed has ended in the log."""

    reply_to: int
    generation: int
    status: OpenStatus
    started_at: str


class OpenGenerationList(BaseSchema):
    items: list[OpenGenerationView]


class Tool(BaseSchema):
    """A tool that the stack offers to its channels; what it says of itself is its server's word.

    Attributes:
        name: `server.tool`.
        input_schema: a JSON Schema of the arguments.
        approval: the stack's rule, which a channel may make stricter.
    """

    name: str
    title: str | None = None
    description: str
    input_schema: dict[str, Any]
    approval: ReadApprovalRule
    read_only: bool
    idempotent: bool


class ToolList(BaseSchema):
    items: list[Tool]


class DecideCall(BaseSchema):
    """`arguments_digest`: SHA-256 of the canonical JSON (RFC 8785) of what is decided about."""

    decision: Decision
    arguments_digest: ArgumentsDigest | None = None


Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_a_day)]
"""A UTC day, `YYYY-MM-DD`."""


class UsageQuery(PageQuery):
    """Days from and to, both included."""

    from_: Annotated[Day | None, Field(alias="from")] = None
    to: Day | None = None


class UsageSum(BaseSchema):
    """What a user's questions of a day have cost with one model."""

    day: str
    user_id: str
    model_id: str
    requests: int
    input_tokens: int
    output_tokens: int


class UsagePage(CursorPage):
    items: list[UsageSum]


class PresencePage(CursorPage):
    items: list[Presence]
