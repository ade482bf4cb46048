"""Events as the outside sees them: `Event` is the union of all, told apart by `type`."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from commons.schemas.base import BaseSchema

type Role = Literal["owner", "member"]
type SenderKind = Literal["user", "agent", "system"]
type FinishReason = Literal["stop", "length", "cancelled", "filtered"]
type FailureReason = Literal["throttled", "timeout", "model_error", "empty", "budget"]
type AgentMode = Literal["always", "mention", "off"]


class Sender(BaseSchema):
    id: str
    name: str | None = None
    kind: SenderKind


class Usage(BaseSchema):
    model_id: str
    input_tokens: int
    output_tokens: int


class AgentView(BaseSchema):
    """An agent's settings; `system_prompt` is left out for all but owners."""

    mode: AgentMode
    model_id: str
    system_prompt: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None


class MessageCreatedData(BaseSchema):
    """`redacted` is set, and `text` empty, once the message is deleted."""

    text: str
    reply_to: int | None = None
    metadata: dict[str, Any] | None = None
    generation: int | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    redacted: bool | None = None


class MessageEditedData(BaseSchema):
    target: int
    text: str
    redacted: bool | None = None


class MessageDeletedData(BaseSchema):
    target: int


class ReactionData(BaseSchema):
    target: int
    emoji: str


class MemberRoleData(BaseSchema):
    user_id: str
    role: Role


class MemberLeftData(BaseSchema):
    user_id: str


class ChannelUpdatedData(BaseSchema):
    """Holds what changed; never the system prompt."""

    name: str | None = None
    agent: AgentView | None = None


class ChannelDeletedData(BaseSchema):
    pass


class AgentFailedData(BaseSchema):
    target: int
    generation: int
    reason: FailureReason


class EventBase(BaseSchema):
    channel_id: str
    seq: int
    created_at: str
    sender: Sender
    client_message_id: str | None = None


class MessageCreated(EventBase):
    type: Literal["message.created"] = "message.created"
    data: MessageCreatedData


class MessageEdited(EventBase):
    type: Literal["message.edited"] = "message.edited"
    data: MessageEditedData


class MessageDeleted(EventBase):
    type: Literal["message.deleted"] = "message.deleted"
    data: MessageDeletedData


class ReactionAdded(EventBase):
    type: Literal["reaction.added"] = "reaction.added"
    data: ReactionData


class ReactionRemoved(EventBase):
    type: Literal["reaction.removed"] = "reaction.removed"
    data: ReactionData


class MemberJoined(EventBase):
    type: Literal["member.joined"] = "member.joined"
    data: MemberRoleData


class MemberUpdated(EventBase):
    type: Literal["member.updated"] = "member.updated"
    data: MemberRoleData


class MemberLeft(EventBase):
    type: Literal["member.left"] = "member.left"
    data: MemberLeftData


class ChannelUpdated(EventBase):
    type: Literal["channel.updated"] = "channel.updated"
    data: ChannelUpdatedData


class ChannelDeleted(EventBase):
    type: Literal["channel.deleted"] = "channel.deleted"
    data: ChannelDeletedData = ChannelDeletedData()


class AgentFailed(EventBase):
    type: Literal["agent.failed"] = "agent.failed"
    data: AgentFailedData


Event = Annotated[
    MessageCreated
    | MessageEdited
    | MessageDeleted
    | ReactionAdded
    | ReactionRemoved
    | MemberJoined
    | MemberUpdated
    | MemberLeft
    | ChannelUpdated
    | ChannelDeleted
    | AgentFailed,
    Field(discriminator="type"),
]

type EventData = (
    MessageCreatedData
    | MessageEditedData
    | MessageDeletedData
    | ReactionData
    | MemberRoleData
    | MemberLeftData
    | ChannelUpdatedData
    | ChannelDeletedData
    | AgentFailedData
)
type EventType = Literal[
    "message.created",
    "message.edited",
    "message.deleted",
    "reaction.added",
    "reaction.removed",
    "member.joined",
    "member.updated",
    "member.left",
    "channel.updated",
    "channel.deleted",
    "agent.failed",
]

EVENT_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


class EventPage(BaseSchema):
    """A stretch of the log, ascending and gap-free."""

    items: list[Event]
    last_seq: int
    has_more: bool
