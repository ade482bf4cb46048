"""Tools that servers offer, and calls of them, as the channels table holds them (docs/adr/0045)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

import rfc8785
from pydantic import Field

from commons import keys
from commons.dal.interface import Key
from commons.records.base import StoredModel
from commons.records.channel import AgentRecord
from commons.schemas.event import ApprovalRule, CallOutcome, ReadApprovalRule
from commons.schemas.open import Open

MAX_ARGUMENTS_BYTES: Final = 16_384
MAX_RESULT_BYTES: Final = 16_384
"""Of JSON and of text, as UTF-8: what the model is shown."""

MAX_SERVER_BYTES: Final = 300_000
"""Of a server's row, which DynamoDB holds to 400 KB: whoever writes it leaves out the rest."""

EVERY_TOOL: Final = "*"

_STRICTNESS: Final[Mapping[str, int]] = {"none": 0, "anyone": 1, "requester": 2, "owner": 3}

type CallStatus = Literal[
    "requested", "approved", "denied", "expired", "cancelled", "running", "done", "unknown"
]
type ReadCallStatus = Annotated[CallStatus, Open(CallStatus)]


def strictness(rule: str) -> int:
    """A rule that a newer version wrote is stricter than any."""
    return _STRICTNESS.get(rule, len(_STRICTNESS))


def stricter(one: ReadApprovalRule, other: ReadApprovalRule) -> ReadApprovalRule:
    """The stricter of two rules: none < anyone < requester < owner."""
    return max(one, other, key=strictness)


class OfferedTool(StoredModel):
    """A tool as its server describes it; all of that is data of a stranger.

    Attributes:
        name: at its server.
        input_schema: a JSON Schema, as JSON text.
        approval: the stack's rule.
    """

    name: str
    title: str | None = None
    description: str = ""
    input_schema: str = "{}"
    read_only: bool = False
    idempotent: bool = False
    approval: ReadApprovalRule


class ToolServerRecord(StoredModel):
    """The row `(tools, server#NAME)`: what one server offered when it was asked last.

    Attributes:
        name: holds no dot.
        read_at: RFC 3339.
        expires_at: epoch seconds; then nobody refreshes it any more, and it counts for nothing.
    """

    name: str
    tools: list[OfferedTool] = Field(default_factory=list)
    read_at: str
    expires_at: int | None = None

    def is_past(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    @property
    def key(self) -> Key:
        return keys.tool_server_key(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTool:
    """A tool under its qualified name, `server.tool`, with the rule that is in force."""

    name: str
    title: str | None
    description: str
    input_schema: Mapping[str, Any]
    approval: ReadApprovalRule
    read_only: bool
    idempotent: bool

    @classmethod
    def of(cls, server: str, offered: OfferedTool) -> "ChannelTool":
        """As the stack offers it."""
        return cls(
            name=f"{server}.{offered.name}",
            title=offered.title,
            description=offered.description,
            input_schema=json.loads(offered.input_schema),
            approval=offered.approval,
            read_only=offered.read_only,
            idempotent=offered.idempotent,
        )


def is_allowed(tool: str, allowed: Sequence[str]) -> bool:
    """Whether a tool is among `server.tool` and `server.*`."""
    server, _, _name = tool.partition(".")
    return tool in allowed or f"{server}.{EVERY_TOOL}" in allowed


def rule_in_force(tool: str, rule: ReadApprovalRule, agent: AgentRecord) -> ReadApprovalRule | None:
    """`rule`, or the channel's where that is stricter; None where the channel allows no call."""
    if not is_allowed(tool, agent.tools):
        return None
    return stricter(rule, agent.approval.get(tool, "none"))


class BadArgumentsError(ValueError):
    """Arguments that no call can be made with; its text is for the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCall:
    """A call that a model asks for.

    Attributes:
        tool: its qualified name.
        arguments: JSON text.
        digest: SHA-256 of the arguments' canonical JSON (RFC 8785), in lower-case hexadecimal.
        rule: the one in force for the tool in the channel.
    """

    tool: str
    arguments: str
    digest: str
    rule: ReadApprovalRule
    read_only: bool
    idempotent: bool

    @classmethod
    def of(cls, tool: ChannelTool, arguments: Mapping[str, Any]) -> "NewCall":
        """A call of a tool.

        Raises:
            BadArgumentsError: they pass 16 KB, or hold a number that JSON does not carry safely.
        """
        text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
        try:
            size = len(text.encode())
            digest = arguments_digest(arguments)
        except (rfc8785.CanonicalizationError, UnicodeEncodeError):
            raise BadArgumentsError(
                "The arguments hold a number or a text that JSON does not carry safely."
            ) from None
        if size > MAX_ARGUMENTS_BYTES:
            raise BadArgumentsError(f"The arguments pass {MAX_ARGUMENTS_BYTES} bytes of JSON.")
        return cls(
            tool=tool.name,
            arguments=text,
            digest=digest,
            rule=tool.approval,
            read_only=tool.read_only,
            idempotent=tool.idempotent,
        )


def arguments_digest(arguments: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON (RFC 8785), in lower-case hexadecimal.

    Raises:
        rfc8785.CanonicalizationError: a value has no canonical form.
    """
    return sha256(rfc8785.dumps(dict(arguments))).hexdigest()


class ToolCallRecord(StoredModel):
    """The row `(calls#C, call#ID)`: a call from its request on, however it ends.

    Attributes:
        step: position of its step in the reply; `position`: its own among the step's calls.
        arguments: JSON text; empty once its question or reply is deleted.
        digest: of the arguments, as `NewCall.digest`; dropped with them.
        approval: the rule it was requested under.
        requested_by: who asked the question.
        expires_at: epoch milliseconds; 0 where nobody has to decide.
        requested_seq: of its `tool.requested`; 0 before that is appended, when nobody may decide.
        decided_by: the user; None where it was nobody.
        fence: of the worker that made it.
        result: what the model is shown.
        truncated: the tool said more.
        requested_at / decided_at / started_at / finished_at: epoch milliseconds.
    """

    channel_id: str
    call_id: str
    question_seq: int
    generation: int
    step: int
    position: int
    tool: str
    arguments: str = "{}"
    digest: str | None = None
    approval: ReadApprovalRule
    read_only: bool = False
    idempotent: bool = False
    requested_by: str
    status: ReadCallStatus
    expires_at: int = 0
    requested_seq: int = 0
    requested_at: int = 0
    decided_seq: int = 0
    decided_at: int = 0
    decided_by: str | None = None
    fence: int = 0
    started_at: int = 0
    outcome: Annotated[CallOutcome, Open(CallOutcome)] | None = None
    result: str | None = None
    truncated: bool = False
    finished_seq: int = 0
    finished_at: int = 0
    redacted: bool = False

    @property
    def key(self) -> Key:
        return keys.tool_call_key(self.channel_id, self.call_id)

    @property
    def is_repeatable(self) -> bool:
        """Made twice it does no harm."""
        return self.read_only or self.idempotent

    @property
    def is_pending(self) -> bool:
        """Somebody has to decide."""
        return self.status == "requested"

    @property
    def is_told(self) -> bool:
        """Its request is in the log."""
        return self.requested_seq > 0

    @property
    def is_over(self) -> bool:
        """Nothing more comes of it."""
        return self.status not in {"requested", "approved", "running"}

    @property
    def parsed_arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = json.loads(self.arguments)
        return arguments


def may_decide(rule: ApprovalRule | str, *, user_id: str, role: str, requested_by: str) -> bool:
    """Whether a member has the right that a rule asks for."""
    match rule:
        case "anyone":
            return True
        case "requester":
            return user_id == requested_by
        case "owner":
            return role == "owner"
        case _:
            return False
