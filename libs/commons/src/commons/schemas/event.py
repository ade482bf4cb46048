"""Events as the outside sees them: each type is one class, which names its data."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, SerializeAsAny

from commons.schemas.base import BaseSchema
from commons.schemas.open import Open, OpenSchema

type Role = Literal["owner", "member"]
type SenderKind = Literal["user", "agent", "system"]
type FinishReason = Literal["stop", "length", "cancelled", "filtered"]
type FailureReason = Literal["throttled", "timeout", "model_error", "empty", "budget"]
type AgentMode = Literal["always", "mention", "off"]
type ApprovalRule = Literal["none", "anyone", "requester", "owner"]
type Decided = Literal["approved", "denied", "expired", "cancelled"]
type CallOutcome = Literal["ok", "error", "unknown"]

type ReadRole = Annotated[Role, Open(Role)]
type ReadAgentMode = Annotated[AgentMode, Open(AgentMode)]
type ReadFinishReason = Annotated[FinishReason, Open(FinishReason)]
type ReadApprovalRule = Annotated[ApprovalRule, Open(ApprovalRule)]
"""As they come from storage: a newer writer may know more values."""


class Sender(BaseSchema):
    id: str
    name: str | None = None
    kind: Annotated[SenderKind, Open(SenderKind)]


class Usage(OpenSchema):
    model_id: str
    input_tokens: int
    output_tokens: int


class AgentView(OpenSchema):
    """An agent's settings; `system_prompt` is left out for all but owners.

    Attributes:
        tools: what it may call: `server.tool`, or `server.*`.
        approval: by tool, where the channel is stricter than the stack.
    """

    json_text: ClassVar[Mapping[str, str]] = {"approval": "approval_json"}

    mode: ReadAgentMode
    model_id: str
    system_prompt: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    tools: list[str] | None = None
    approval: dict[str, ReadApprovalRule] | None = None


class EventData(OpenSchema):
    """What an event says. Each type of event has its own data, so the data names the type."""


class MessageCreatedData(EventData):
    """`redacted` is set, and `text` empty, once the message is deleted."""

    json_text: ClassVar[Mapping[str, str]] = {"metadata": "metadata"}

    text: str
    reply_to: int | None = None
    metadata: dict[str, Any] | None = None
    generation: int | None = None
    finish_reason: ReadFinishReason | None = None
    usage: Usage | None = None
    redacted: bool | None = None

    def emptied(self) -> Self:
        """As it stays once the message is deleted: what is not known might be part of the text."""
        return type(self)(
            text="",
            reply_to=self.reply_to,
            generation=self.generation,
            finish_reason=self.finish_reason,
            usage=self.usage,
            redacted=True,
        )


class MessageEditedData(EventData):
    target: int
    text: str
    redacted: bool | None = None

    @classmethod
    def emptied(cls, target: int) -> Self:
        """As it stays once the message is deleted."""
        return cls(target=target, text="", redacted=True)


class MessageDeletedData(EventData):
    target: int


class ReactionAddedData(EventData):
    target: int
    emoji: str


class ReactionRemovedData(EventData):
    target: int
    emoji: str


class MemberJoinedData(EventData):
    user_id: str
    role: ReadRole


class MemberUpdatedData(EventData):
    user_id: str
    role: ReadRole


class MemberLeftData(EventData):
    user_id: str


class ChannelUpdatedData(EventData):
    """Holds what changed; never the system prompt."""

    name: str | None = None
    agent: AgentView | None = None


class ChannelDeletedData(EventData):
    pass


class AgentFailedData(EventData):
    target: int
    generation: int
    reason: Annotated[FailureReason, Open(FailureReason)]


class ToolRequestedData(EventData):
    """The agent asks for a call; `redacted` as a message's.

    Attributes:
        target: the question.
        approval: who may decide; with `none` it is made at once.
        expires_at: when it is too late to decide; absent where nobody has to.
    """

    json_text: ClassVar[Mapping[str, str]] = {"arguments": "arguments_json"}

    target: int
    generation: int
    call_id: str
    tool: str
    arguments: dict[str, Any]
    approval: ReadApprovalRule
    expires_at: str | None = None
    redacted: bool | None = None

    def emptied(self) -> Self:
        """As it stays once its question or its reply is deleted."""
        return type(self)(
            target=self.target,
            generation=self.generation,
            call_id=self.call_id,
            tool=self.tool,
            arguments={},
            approval=self.approval,
            expires_at=self.expires_at,
            redacted=True,
        )


class ToolDecidedData(EventData):
    """What became of a request; the event's sender is who decided."""

    target: int
    generation: int
    call_id: str
    decision: Annotated[Decided, Open(Decided)]


class ToolFinishedData(EventData):
    """What a call came to; `unknown`: whether it was made nobody knows, and it is not made again.

    Attributes:
        result: 4 KB at most; `truncated` where that is not all of it.
    """

    target: int
    generation: int
    call_id: str
    outcome: Annotated[CallOutcome, Open(CallOutcome)]
    result: str | None = None
    truncated: bool | None = None
    redacted: bool | None = None

    def emptied(self) -> Self:
        """As it stays once its question or its reply is deleted."""
        return type(self)(
            target=self.target,
            generation=self.generation,
            call_id=self.call_id,
            outcome=self.outcome,
            result="",
            redacted=True,
        )


class Event(BaseSchema):
    """What every event has. A subclass adds `type` and `data`, and is known by both from then on.

    A new type of event is a subclass here and the service that appends it.
    """

    channel_id: str
    seq: int
    created_at: str
    sender: Sender
    client_message_id: str | None = None
    type: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        data = cls.model_fields["data"].annotation
        if isinstance(data, type) and issubclass(data, EventData):
            EVENT_TYPES[cls.model_fields["type"].default] = cls
            _EVENT_OF_DATA[data] = cls


EVENT_TYPES: dict[str, type[Event]] = {}
"""The events that this version knows, by type."""

_EVENT_OF_DATA: dict[type[EventData], type[Event]] = {}


def event_class_of(data: EventData) -> type[Event]:
    """The event that says `data`."""
    return _EVENT_OF_DATA[type(data)]


def _of_its_class(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return EVENT_TYPES.get(str(value.get("type")), UnknownEvent).model_validate(value)


AnyEvent = Annotated[SerializeAsAny[Event], BeforeValidator(_of_its_class)]
"""An event inside another model: read, and serialised, as the class that it is of."""


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
    data: ReactionAddedData


class ReactionRemoved(Event):
    type: Literal["reaction.removed"] = "reaction.removed"
    data: ReactionRemovedData


class MemberJoined(Event):
    type: Literal["member.joined"] = "member.joined"
    data: MemberJoinedData


class MemberUpdated(Event):
    type: Literal["member.updated"] = "member.updated"
    data: MemberUpdatedData


class MemberLeft(Event):
    type: Literal["member.left"] = "member.left"
    data: MemberLeftData


class ChannelUpdated(Event):
    type: Literal["channel.updated"] = "channel.updated"
    data: ChannelUpdatedData


class ChannelDeleted(Event):
    type: Literal["channel.deleted"] = "channel.deleted"
    data: ChannelDeletedData = ChannelDeletedData()


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


class UnknownEvent(Event):
    """An event of a type that a newer version writes: its data goes through as it is stored."""

    data: dict[str, Any]


class EventPage(BaseSchema):
    """A stretch of the log, ascending and gap-free."""

    items: list[AnyEvent]
    last_seq: int
    has_more: bool
