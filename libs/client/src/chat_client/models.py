"""What the API answers with.

The API only ever adds types, fields and values. So every model keeps fields that it does not know
(`model_extra`), every enumeration is open (a `Literal` beside `str`), and an event of an unknown
type, or one whose data this version cannot read, is a plain `Event`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel

type Role = Literal["owner", "member"] | str
type SenderKind = Literal["user", "agent", "system"] | str
type AgentMode = Literal["always", "mention", "off"] | str
type FinishReason = Literal["stop", "length", "cancelled", "filtered"] | str
type FailureReason = Literal["throttled", "timeout", "model_error", "empty", "budget"] | str
type GenerationStatus = Literal["queued", "running", "waiting"] | str
type ApprovalRule = Literal["none", "anyone", "requester", "owner"] | str
type Decided = Literal["approved", "denied", "expired", "cancelled"] | str
type CallOutcome = Literal["ok", "error", "unknown"] | str


class Wire(BaseModel):
    """snake_case in Python, camelCase on the wire; frozen; unknown fields are kept."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="allow",
        frozen=True,
        protected_namespaces=(),
    )


class Sender(Wire):
    id: str
    name: str | None = None
    kind: SenderKind


class Usage(Wire):
    model_id: str
    input_tokens: int
    output_tokens: int


class Agent(Wire):
    """A channel's agent.

    Attributes:
        system_prompt: shown to owners only.
        tools: what it may call, each `server.tool` or `server.*`.
        approval: by tool, the rule where the channel's is stricter than the deployment's.
    """

    mode: AgentMode
    model_id: str
    system_prompt: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    tools: list[str] | None = None
    approval: dict[str, ApprovalRule] | None = None


class AgentChanges(Wire):
    """What is to change about an agent: a field left out stays, None clears it."""

    mode: AgentMode | None = None
    model_id: str | None = None
    system_prompt: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    tools: list[str] | None = None
    approval: dict[str, ApprovalRule] | None = None


class Channel(Wire):
    """A channel as the caller sees it.

    Attributes:
        role: the caller's.
        read_seq: the caller's read mark.
        unread_count: messages by others past the mark; 100 means 100 or more.
    """

    channel_id: str
    name: str
    created_at: datetime
    created_by: str
    role: Role
    member_count: int
    last_seq: int
    last_event_at: datetime | None = None
    read_seq: int
    unread_count: int
    agent: Agent


class Member(Wire):
    user_id: str
    name: str | None = None
    role: Role
    joined_at: datetime
    read_seq: int


class Message(Wire):
    """A message with its edits, reactions and deletion applied.

    `generation`, `finish_reason` and `usage` are set on an agent's.
    """

    channel_id: str
    seq: int
    created_at: datetime
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    sender: Sender
    text: str
    reply_to: int | None = None
    metadata: dict[str, JsonValue] | None = None
    reactions: dict[str, list[str]] = Field(default_factory=dict)
    generation: int | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


class EventData(Wire):
    """Data of a type that this version does not know: all of it is in `model_extra`."""


class MessageCreatedData(EventData):
    """`redacted` is set, and `text` empty, once the message is deleted."""

    text: str
    reply_to: int | None = None
    metadata: dict[str, JsonValue] | None = None
    generation: int | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    redacted: bool = False


class MessageEditedData(EventData):
    target: int
    text: str
    redacted: bool = False


class MessageDeletedData(EventData):
    target: int


class ReactionData(EventData):
    target: int
    emoji: str


class MemberRoleData(EventData):
    user_id: str
    role: Role


class MemberLeftData(EventData):
    user_id: str


class ChannelUpdatedData(EventData):
    """Holds what changed; never the system prompt."""

    name: str | None = None
    agent: Agent | None = None


class AgentFailedData(EventData):
    target: int
    generation: int
    reason: FailureReason


class ToolRequestedData(EventData):
    """The agent asks for a call of a tool, in its reply `generation` to the message `target`.

    Attributes:
        arguments: all of them; empty once `redacted`, with its question or its reply.
        approval: who may decide; with `none` the call is made at once.
        expires_at: when it is too late to decide.
    """

    target: int
    generation: int
    call_id: str
    tool: str
    arguments: dict[str, JsonValue]
    approval: ApprovalRule
    expires_at: datetime | None = None
    redacted: bool = False


class ToolDecidedData(EventData):
    """What became of the request; the event's sender is who decided."""

    call_id: str
    decision: Decided


class ToolFinishedData(EventData):
    """What the call came to.

    Attributes:
        outcome: `unknown`: whether the tool did it is not known, and it is not called again.
        result: its beginning where `truncated`.
    """

    call_id: str
    outcome: CallOutcome
    result: str | None = None
    truncated: bool = False
    redacted: bool = False


class Event(Wire):
    """An entry of a channel's log; `seq` is 1, 2, 3 … without a gap."""

    channel_id: str
    seq: int
    type: str
    created_at: datetime
    sender: Sender
    client_message_id: str | None = None
    data: EventData


class MessageCreated(Event):
    type: Literal["message.created"] = "message.created"
    data: MessageCreatedData


class MessageEdited(Event):
    type: Literal["message.edited"] = "message.edited"
    data: MessageEditedData


class MessageDeleted(Event):
    type: Literal["message.deleted"] = "message.deleted"
    data: MessageDeletedData


class ReactionAdded(Event):
    type: Literal["reaction.added"] = "reaction.added"
    data: ReactionData


class ReactionRemoved(Event):
    type: Literal["reaction.removed"] = "reaction.removed"
    data: ReactionData


class MemberJoined(Event):
    type: Literal["member.joined"] = "member.joined"
    data: MemberRoleData


class MemberUpdated(Event):
    type: Literal["member.updated"] = "member.updated"
    data: MemberRoleData


class MemberLeft(Event):
    type: Literal["member.left"] = "member.left"
    data: MemberLeftData


class ChannelUpdated(Event):
    type: Literal["channel.updated"] = "channel.updated"
    data: ChannelUpdatedData


class ChannelDeleted(Event):
    type: Literal["channel.deleted"] = "channel.deleted"


class AgentFailed(Event):
    type: Literal["agent.failed"] = "agent.failed"
    data: AgentFailedData


class ToolRequested(Event):
    type: Literal["tool.requested"] = "tool.requested"
    data: ToolRequestedData


class ToolDecided(Event):
    type: Literal["tool.decided"] = "tool.decided"
    data: ToolDecidedData


class ToolFinished(Event):
    type: Literal["tool.finished"] = "tool.finished"
    data: ToolFinishedData


EVENT_TYPES: Mapping[str, type[Event]] = {
    "message.created": MessageCreated,
    "message.edited": MessageEdited,
    "message.deleted": MessageDeleted,
    "reaction.added": ReactionAdded,
    "reaction.removed": ReactionRemoved,
    "member.joined": MemberJoined,
    "member.updated": MemberUpdated,
    "member.left": MemberLeft,
    "channel.updated": ChannelUpdated,
    "channel.deleted": ChannelDeleted,
    "agent.failed": AgentFailed,
    "tool.requested": ToolRequested,
    "tool.decided": ToolDecided,
    "tool.finished": ToolFinished,
}


def _as_its_type(value: object) -> object:
    """The event as the class of its type; as it came where there is none that can read it."""
    if isinstance(value, Mapping):
        known = EVENT_TYPES.get(str(value.get("type")))
        if known is not None:
            try:
                return known.model_validate(value)
            except ValidationError:
                return value
    return value


AnyEvent = Annotated[Event, BeforeValidator(_as_its_type)]
"""An `Event` that is read as the class of its type."""

EVENT: TypeAdapter[Event] = TypeAdapter(AnyEvent)


class EventPage(Wire):
    """A stretch of the log, ascending and gap-free."""

    items: list[AnyEvent]
    last_seq: int
    has_more: bool


class ChannelPage(Wire):
    """`next_cursor` is None at the end."""

    items: list[Channel]
    next_cursor: str | None = None


class MemberPage(Wire):
    """`next_cursor` is None at the end."""

    items: list[Member]
    next_cursor: str | None = None


class MessagePage(Wire):
    """Ascending by `seq`; `next_cursor` is None at the end."""

    items: list[Message]
    next_cursor: str | None = None


class Presence(Wire):
    user_id: str
    connections: int


class PresencePage(Wire):
    """`next_cursor` is None at the end."""

    items: list[Presence]
    next_cursor: str | None = None


class Generation(Wire):
    """A reply that is being written or waits to be."""

    reply_to: int
    generation: int
    status: GenerationStatus
    started_at: datetime


class GenerationList(Wire):
    items: list[Generation]


class Tool(Wire):
    """A tool that the deployment offers; its texts are its server's word.

    Attributes:
        name: `server.tool`.
        input_schema: a JSON Schema of the arguments.
        approval: the deployment's rule; a channel may have a stricter one.
    """

    name: str
    title: str | None = None
    description: str = ""
    input_schema: dict[str, JsonValue]
    approval: ApprovalRule
    read_only: bool
    idempotent: bool


class ToolList(Wire):
    items: list[Tool]


class UsageSum(Wire):
    """What a user's questions of a day (UTC) have cost with one model."""

    day: str
    user_id: str
    model_id: str
    requests: int
    input_tokens: int
    output_tokens: int


class UsagePage(Wire):
    items: list[UsageSum]
    next_cursor: str | None = None


class Ticket(Wire):
    """Opens one WebSocket, once, within `expires_in` seconds."""

    ticket: str
    expires_in: int


class Me(Wire):
    user_id: str
    name: str | None = None


class Health(Wire):
    status: str
    version: str
