"""The calls that a channel's replies ask for, folded from its events. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal

from pydantic import JsonValue

from chat_client.models import (
    ApprovalRule,
    Decided,
    Event,
    Sender,
    ToolDecided,
    ToolFinished,
    ToolRequested,
)

type CallState = (
    Literal["requested", "running", "denied", "expired", "cancelled", "ok", "error", "unknown"]
    | str
)
"""Somebody has to decide; it is made, or will be at once; how it is over."""

_STRICTNESS: Final[Mapping[str, int]] = {"none": 0, "anyone": 1, "requester": 2, "owner": 3}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as its events leave it.

    Attributes:
        seq: of its request.
        target: the question.
        decided_by: who decided, where that is known.
        redacted: its arguments and its result were deleted.
    """

    call_id: str
    seq: int
    at: datetime
    target: int
    generation: int
    tool: str
    arguments: Mapping[str, JsonValue]
    approval: ApprovalRule
    expires_at: datetime | None = None
    decision: Decided | None = None
    decided_by: Sender | None = None
    outcome: str | None = None
    result: str | None = None
    truncated: bool = False
    redacted: bool = False

    @property
    def state(self) -> CallState:
        if self.outcome is not None:
            return self.outcome
        if self.decision is not None:
            return "running" if self.decision == "approved" else self.decision
        return "running" if self.approval == "none" else "requested"

    @property
    def is_pending(self) -> bool:
        """Somebody has to decide."""
        return self.state == "requested"

    @property
    def is_over(self) -> bool:
        return self.state not in {"requested", "running"}


@dataclass(slots=True)
class ToolCalls:
    """The calls of one channel. An event that is applied again changes nothing.

    What comes of a call before its request is kept until that is known.
    """

    _calls: dict[str, ToolCall] = field(default_factory=dict)
    _early: dict[str, list[ToolDecided | ToolFinished]] = field(default_factory=dict)

    @property
    def all(self) -> list[ToolCall]:
        """In the order of their requests."""
        return sorted(self._calls.values(), key=lambda call: call.seq)

    def of(self, target: int, generation: int | None = None) -> list[ToolCall]:
        """Those of a question's replies, or of one of them."""
        return [
            call
            for call in self.all
            if call.target == target and generation in {None, call.generation}
        ]

    def apply(self, event: Event) -> ToolCall | None:
        """Answers the call that is new or changed, if one is."""
        match event:
            case ToolRequested(data=data) if data.call_id not in self._calls:
                call = self._put(_requested(event))
                for early in self._early.pop(data.call_id, []):
                    call = self._note(early) or call
                return call
            case ToolDecided() | ToolFinished():
                return self._note(event)
            case _:
                return None

    def empty(self, target: int, generation: int | None = None) -> list[ToolCall]:
        """What is deleted takes arguments and results along: answers the calls that changed."""
        return [self._put(_emptied(call)) for call in self.of(target, generation)]

    def _note(self, event: ToolDecided | ToolFinished) -> ToolCall | None:
        call = self._calls.get(event.data.call_id)
        if call is None:
            self._early.setdefault(event.data.call_id, []).append(event)
            return None
        noted = _decided(call, event) if isinstance(event, ToolDecided) else _finished(call, event)
        return None if noted == call else self._put(noted)

    def _put(self, call: ToolCall) -> ToolCall:
        self._calls[call.call_id] = call
        return call


def rule_in_force(call: ToolCall, approval: Mapping[str, ApprovalRule] | None) -> ApprovalRule:
    """The one that the call was requested under, or the channel's where that is stricter now."""
    return max(call.approval, (approval or {}).get(call.tool, "none"), key=_strictness)


def may_decide(rule: ApprovalRule, *, is_owner: bool, is_requester: bool) -> bool:
    """Whether a member has the right, as far as can be told here: the server judges."""
    match rule:
        case "anyone":
            return True
        case "requester":
            return is_requester
        case "owner":
            return is_owner
        case _:
            return False


def _strictness(rule: ApprovalRule) -> int:
    """A rule that a newer server knows is stricter than any."""
    return _STRICTNESS.get(rule, len(_STRICTNESS))


def _requested(event: ToolRequested) -> ToolCall:
    data = event.data
    return ToolCall(
        call_id=data.call_id,
        seq=event.seq,
        at=event.created_at,
        target=data.target,
        generation=data.generation,
        tool=data.tool,
        arguments=data.arguments,
        approval=data.approval,
        expires_at=data.expires_at,
        redacted=data.redacted,
    )


def _decided(call: ToolCall, event: ToolDecided) -> ToolCall:
    if call.decision is not None:
        return call
    return replace(call, decision=event.data.decision, decided_by=event.sender)


def _finished(call: ToolCall, event: ToolFinished) -> ToolCall:
    if call.outcome is not None:
        return call
    data = event.data
    redacted = call.redacted or data.redacted
    return replace(
        call,
        outcome=data.outcome,
        result="" if redacted and data.result is not None else data.result,
        truncated=data.truncated,
        redacted=redacted,
    )


def _emptied(call: ToolCall) -> ToolCall:
    result = None if call.result is None else ""
    return replace(call, arguments={}, result=result, redacted=True)
