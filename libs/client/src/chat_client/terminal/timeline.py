"""What a channel's conversation looks like: events and messages folded into lines. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from chat_client.models import (
    AgentFailed,
    ChannelUpdated,
    Event,
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    Message,
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    ReactionAdded,
    ReactionRemoved,
    Sender,
)
from chat_client.tool_calls import ToolCall, ToolCalls

MAX_LINES: Final = 2_000
"""Lines kept in view; older ones are loaded again by scrolling up."""

GROUP_SPAN: Final = timedelta(minutes=5)
"""Messages of one sender so close together share a heading."""

FAILURES: Final = {
    "throttled": "the model is busy: try again in a moment",
    "timeout": "the model took too long",
    "model_error": "the model failed",
    "empty": "the model had nothing to say",
    "budget": "the budget for today is spent",
}
ENDINGS: Final = {
    "length": "cut at the length limit",
    "cancelled": "stopped",
    "filtered": "filtered",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A message, a notice of what happened, or a call that the agent asks for.

    Attributes:
        sender: None for a notice and for a call.
        note: how an agent's reply ended, where not as usual.
    """

    seq: int
    at: datetime
    text: str
    sender: Sender | None = None
    edited: bool = False
    deleted: bool = False
    reply_to: int | None = None
    generation: int | None = None
    note: str = ""
    reactions: dict[str, list[str]] = field(default_factory=dict)
    call: ToolCall | None = None

    @property
    def kind(self) -> Literal["user", "agent", "notice", "call"]:
        if self.call is not None:
            return "call"
        if self.sender is None:
            return "notice"
        return "agent" if self.sender.kind == "agent" else "user"

    @property
    def who(self) -> str:
        if self.sender is None:
            return ""
        return "agent" if self.kind == "agent" else self.sender.name or self.sender.id

    def follows(self, before: "Line | None") -> bool:
        """Whether it needs no heading of its own under the line before it."""
        return (
            before is not None
            and self.kind == before.kind == "user"
            and self.who == before.who
            and self.at - before.at < GROUP_SPAN
            and self.at.astimezone().date() == before.at.astimezone().date()
        )


class Timeline:
    """The lines of a channel that are loaded, by seq.

    Attributes:
        first: the lowest seq that was asked for; what is before it is not loaded.
    """

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self.calls = ToolCalls()

    @property
    def lines(self) -> list[Line]:
        return [self._lines[seq] for seq in sorted(self._lines)]

    @property
    def first(self) -> int | None:
        return min(self._lines, default=None)

    def find(self, seq: int) -> Line | None:
        return self._lines.get(seq)

    def load(self, messages: list[Message], events: Sequence[Event] = ()) -> list[int]:
        """History, and the log of the same stretch: answers the seqs that are new here.

        Messages do not tell of calls, the log does; of what it tells else, notices of what
        happened long ago are left out.
        """
        known = set(self._lines)
        for message in messages:
            self._lines.setdefault(message.seq, line_of(message))
        for event in events:
            self._call(event)
        for line in self._lines.values():
            if line.deleted:
                self._empty_calls(line)
        return sorted(set(self._lines) - known)

    def apply(self, event: Event) -> list[int]:
        """An event: answers the seqs of the lines that are new or changed."""
        emptied: list[int] = []
        if isinstance(event, MessageDeleted):
            target = self._lines.get(event.data.target)
            emptied = self._empty_calls(target) if target else self._empty(event.data.target, None)
        changed = self._call(event) or self._apply(event)
        return emptied if changed is None else [*emptied, changed]

    def pending(self) -> list[ToolCall]:
        """The calls that somebody has to decide about."""
        return [call for call in self.calls.all if call.is_pending]

    def _call(self, event: Event) -> int | None:
        call = self.calls.apply(event)
        return None if call is None else self._put_call(call)

    def _put_call(self, call: ToolCall) -> int:
        self._lines[call.seq] = Line(call.seq, call.at, "", call=call)
        return call.seq

    def _empty_calls(self, deleted: Line) -> list[int]:
        if deleted.kind != "agent":
            return self._empty(deleted.seq, None)
        return self._empty(deleted.reply_to or 0, deleted.generation)

    def _empty(self, target: int, generation: int | None) -> list[int]:
        return [self._put_call(call) for call in self.calls.empty(target, generation)]

    def _apply(self, event: Event) -> int | None:
        match event:
            case MessageCreated():
                return self._add(created_line(event))
            case MessageEdited(data=edit):
                return self._change(edit.target, text=edit.text, edited=True)
            case MessageDeleted(data=deletion):
                return self._change(deletion.target, text="", deleted=True, reactions={})
            case ReactionAdded(data=added):
                return self._react(added.target, added.emoji, event.sender.id, there=True)
            case ReactionRemoved(data=removed):
                return self._react(removed.target, removed.emoji, event.sender.id, there=False)
            case _:
                notice = notice_of(event)
                return self._add(Line(event.seq, event.created_at, notice)) if notice else None

    def forget_oldest(self) -> list[int]:
        """Keeps the view bounded: answers the seqs that go."""
        gone = sorted(self._lines)[: max(0, len(self._lines) - MAX_LINES)]
        for seq in gone:
            del self._lines[seq]
        return gone

    def _add(self, line: Line) -> int | None:
        if line.seq in self._lines:
            return None
        self._lines[line.seq] = line
        return line.seq

    def _change(self, seq: int, **changes: object) -> int | None:
        line = self._lines.get(seq)
        if line is None:
            return None
        self._lines[seq] = replace(line, **changes)  # type: ignore[arg-type]  # fields of Line
        return seq

    def _react(self, seq: int, emoji: str, user_id: str, *, there: bool) -> int | None:
        line = self._lines.get(seq)
        if line is None:
            return None
        users = [user for user in line.reactions.get(emoji, []) if user != user_id]
        if there:
            users.append(user_id)
        reactions = {**line.reactions, emoji: users}
        return self._change(
            seq, reactions={each: users for each, users in reactions.items() if users}
        )


def line_of(message: Message) -> Line:
    return Line(
        seq=message.seq,
        at=message.created_at,
        text=message.text,
        sender=message.sender,
        edited=message.edited_at is not None,
        deleted=message.deleted_at is not None,
        reply_to=message.reply_to,
        generation=message.generation,
        note=ENDINGS.get(message.finish_reason or "", ""),
        reactions={emoji: list(users) for emoji, users in message.reactions.items()},
    )


def created_line(event: MessageCreated) -> Line:
    return Line(
        seq=event.seq,
        at=event.created_at,
        text=event.data.text,
        sender=event.sender,
        deleted=event.data.redacted,
        reply_to=event.data.reply_to,
        generation=event.data.generation,
        note=ENDINGS.get(event.data.finish_reason or "", ""),
    )


def notice_of(event: Event) -> str:
    """What is said of an event that is no message; nothing of one that is not known."""
    by = event.sender.name or event.sender.id
    match event:
        case MemberJoined(data=member):
            return f"{member.user_id} joined"
        case MemberLeft(data=left):
            return f"{left.user_id} left"
        case MemberUpdated(data=updated):
            return f"{updated.user_id} is {updated.role} now"
        case ChannelUpdated(data=changes):
            return (
                f"{by} renamed the channel to {changes.name}"
                if changes.name
                else (f"{by} changed the agent")
            )
        case AgentFailed(data=failed):
            return f"No reply: {FAILURES.get(failed.reason, failed.reason)}"
        case _:
            return ""
