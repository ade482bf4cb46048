"""Channels, their agents and their members, as they go over the wire."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from commons.schemas.base import BaseSchema
from commons.schemas.event import AgentMode, AgentView, ApprovalRule, ReadRole
from commons.schemas.types import Integral

MAX_SYSTEM_PROMPT = 4_000
"""Unicode code points."""

MAX_TOKENS = 4_096
MIN_TEMPERATURE = 1e-6

CHANNEL_ID_PATTERN = r"^[A-Za-z0-9_-]{22}\Z"

ModelId = Annotated[str, StringConstraints(min_length=1, max_length=256)]
SystemPrompt = Annotated[str, Field(max_length=MAX_SYSTEM_PROMPT)]
MaxTokens = Annotated[int, Field(ge=1, le=MAX_TOKENS, strict=True), Integral]


def _storable(value: float) -> float:
    return value if value >= MIN_TEMPERATURE else 0.0


Temperature = Annotated[
    float, Field(ge=0, le=1, strict=True, allow_inf_nan=False), AfterValidator(_storable)
]
"""0 to 1; what is closer to 0 than any model tells apart, and than DynamoDB holds, is 0."""


MAX_TOOLS = 100
"""Entries of `tools`, and of `approval`."""

ToolPattern = Annotated[str, StringConstraints(min_length=3, max_length=200)]
"""`server.tool` or `server.*`: whether there is such a one is for the catalogue to say."""


class AgentChanges(BaseSchema):
    """What a caller says about an agent: a field left out is left as it is, null clears it."""

    mode: AgentMode | None = None
    model_id: ModelId | None = None
    system_prompt: SystemPrompt | None = None
    max_tokens: MaxTokens | None = None
    temperature: Temperature | None = None
    tools: Annotated[list[ToolPattern], Field(max_length=MAX_TOOLS)] | None = None
    approval: Annotated[dict[ToolPattern, ApprovalRule], Field(max_length=MAX_TOOLS)] | None = None


class Channel(BaseSchema):
    """A channel as one of its members sees it.

    Attributes:
        role: the caller's.
        last_event_at: when event `last_seq` was appended; absent from a channel without events.
        read_seq: the caller's read mark.
        unread_count: messages by others past the mark, not deleted, among the newest 500; 100
            means 100 or more.
    """

    channel_id: str
    name: str
    created_at: str
    created_by: str
    role: ReadRole
    member_count: int
    last_seq: int
    last_event_at: str | None = None
    read_seq: int
    unread_count: int
    agent: AgentView


class Member(BaseSchema):
    user_id: str
    name: str | None = None
    role: ReadRole
    joined_at: str
    read_seq: int
