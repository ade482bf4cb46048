"""A channel, its agent and its members, as the channels table holds them."""

from pydantic import Field

from commons.dal.interface import Item
from commons.records.base import StoredModel
from commons.schemas.event import ReadAgentMode, ReadApprovalRule, ReadRole, Sender


class AgentRecord(StoredModel):
    """How the agent of a channel behaves, as stored on the channel's meta row."""

    mode: ReadAgentMode = "always"
    model_id: str
    system_prompt: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    tools: list[str] = Field(default_factory=list)
    approval: dict[str, ReadApprovalRule] = Field(default_factory=dict)


class ChannelRecord(StoredModel):
    """The meta row of a channel: `(channel#C, meta)` in the channels table.

    Attributes:
        settings_version: counts changes of name and agent: each is conditional on it.
        agent_mode_changed_seq: the number of the event that changed the agent's mode last; 0 where
            none has, or where an older release wrote the row. Later messages were posted under
            today's mode.
    """

    channel_id: str
    name: str
    created_at: str
    created_by: str
    agent: AgentRecord
    member_count: int
    owner_count: int
    settings_version: int = 0
    agent_mode_changed_seq: int = 0
    deleted: bool = False


class MemberRecord(StoredModel):
    """A member row: `(channel#C, member#U)` in the channels table."""

    channel_id: str
    user_id: str
    role: ReadRole
    joined_at: str
    name: str | None = None
    read_seq: int = 0

    def as_sender(self) -> Sender:
        return Sender(id=self.user_id, name=self.name, kind="user")


def channel_from_item(item: Item) -> ChannelRecord:
    return ChannelRecord.model_validate(item)


def member_from_item(item: Item) -> MemberRecord:
    return MemberRecord.model_validate(item)
