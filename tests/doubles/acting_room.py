"""A channel in which the agent acts: its people, its tools, a reply that a worker holds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import IRepository, Item, Table, Update, UpdateWrite
from commons.ids import tool_call_id
from commons.records.generation import GenerationStep, OpenGeneration, StepCall
from commons.records.tool import (
    ChannelTool,
    NewCall,
    OfferedTool,
    ToolCallRecord,
    ToolServerRecord,
)
from commons.schemas.caller import Caller
from commons.schemas.event import (
    ApprovalRule,
    ChannelDeletedData,
    Event,
    MessageCreatedData,
    Sender,
)
from commons.schemas.tool import Decision
from commons.services.event_log import Draft, EventLogService
from commons.services.generations import GenerationsService
from commons.services.tool_call_rows import ToolCallRows
from commons.services.tool_calls import ToolCallsService
from commons.services.tool_decisions import ToolDecisionsService

CHANNEL = "abcdefghijklmnopqrstuv"
APPROVAL_SECONDS = 100
ALICE = Sender(id="alice", kind="user")

HELD: Item = {"status": "running", "lease_until": 4_000_000_000_000}
"""Of a reply's row: a worker has claimed it, and lives."""


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += int(seconds * 1_000)


class Room:
    """Alice asks, bob is another member, olga owns the channel; a worker writes the reply.

    Attributes:
        row: as the worker holds it.
    """

    def __init__(self, repository: InMemoryRepository) -> None:
        self.repository = repository
        self.clock = Clock()
        self.event_log = EventLogService(repository)
        self.calls = ToolCallsService(
            repository,
            event_log=self.event_log,
            approval_seconds=APPROVAL_SECONDS,
            clock=self.clock,
        )
        self.decisions = ToolDecisionsService(
            repository, event_log=self.event_log, clock=self.clock
        )
        self.generations = GenerationsService(repository, event_log=self.event_log)
        self.allow("notes.*", "clock.*")
        for user_id in ("alice", "bob"):
            self.join(user_id)
        self.join("olga", role="owner")
        self.say("alice", "note this")
        self.generations.ask(CHANNEL, 1, "alice", correlation_id=None)
        self.row = self.claim()

    def allow(self, *tools: str, approval: dict[str, str] | None = None) -> None:
        """As the owner's change of the channel's settings."""
        found = self.repository.find(Table.CHANNELS, keys.channel_key(CHANNEL))
        version = 0 if found is None else int(str(found["settings_version"])) + 1
        meta: Item = {
            **keys.channel_key(CHANNEL),
            "channel_id": CHANNEL,
            "name": "General",
            "created_at": "2026-01-01T00:00:00.000Z",
            "created_by": "olga",
            "member_count": 3,
            "owner_count": 1,
            "settings_version": version,
            "agent": {"model_id": "m", "tools": list(tools), "approval": approval or {}},
        }
        self.repository.put(Table.CHANNELS, meta)

    def join(self, user_id: str, role: str = "member") -> None:
        member: Item = {
            **keys.member_key(CHANNEL, user_id),
            "channel_id": CHANNEL,
            "user_id": user_id,
            "role": role,
            "joined_at": "2026-01-01T00:00:00.000Z",
        }
        self.repository.put(Table.CHANNELS, member)

    def leave(self, user_id: str) -> None:
        self.repository.delete(Table.CHANNELS, keys.member_key(CHANNEL, user_id))

    def delete_channel(self) -> None:
        deleted = UpdateWrite(
            Table.CHANNELS, keys.channel_key(CHANNEL), Update(set={"deleted": True})
        )
        draft = Draft(
            sender=Sender(id="olga", kind="user"),
            data=ChannelDeletedData(),
            writes=lambda _seq: [deleted],
        )
        self.event_log.append(CHANNEL, lambda: draft)

    def say(self, user_id: str, text: str) -> int:
        draft = Draft(sender=Sender(id=user_id, kind="user"), data=MessageCreatedData(text=text))
        return self.event_log.append(CHANNEL, lambda: draft).seq

    def redact_question(self) -> None:
        """As its deletion does, which then dies."""
        redacted = Update(set={"redacted": True, "data": {"text": "", "redacted": True}})
        self.repository.update(Table.CHAT_EVENTS, keys.event_key(CHANNEL, 1), redacted)

    def claim(self) -> OpenGeneration:
        """As a worker does, the first or the next one."""
        key = keys.open_generation_key(CHANNEL, 1, 1)
        update = Update(set=HELD, add={"fence": 1})
        return OpenGeneration.model_validate(self.repository.update(Table.CHANNELS, key, update))

    def wait(self) -> None:
        """The worker lets go of the reply until somebody has decided."""
        update = Update(set={"status": "waiting", "lease_until": 0})
        self.row = OpenGeneration.model_validate(
            self.repository.update(Table.CHANNELS, self.row.key, update)
        )

    def ask(
        self,
        rule: ApprovalRule = "requester",
        *,
        tool: str = "notes.add",
        arguments: Sequence[dict[str, Any]] = ({"text": "milk"},),
        idempotent: bool = False,
    ) -> list[ToolCallRecord]:
        """The model asks for a step of calls."""
        made_of = replace(a_tool(tool, rule), idempotent=idempotent)
        calls = [NewCall.of(made_of, each) for each in arguments]
        step = GenerationStep(
            text="I note it.",
            calls=[
                StepCall(provider_call_id=f"p{number}", tool=tool) for number, _ in enumerate(calls)
            ],
        )
        self.row = self.calls.request(self.row, step, calls, text="I note it.")
        return self.calls.of_step(self.row, self.row.step_count - 1)

    def decide(
        self,
        user_id: str,
        call: ToolCallRecord,
        decision: Decision = "approve",
        digest: str | None = None,
    ) -> Event:
        shown = self.decisions.decide(CHANNEL, caller(user_id), call.call_id, decision, digest)
        return shown.content

    def untell(self, call: ToolCallRecord) -> None:
        """As though the worker had died before it told of the call. (The event stays.)"""
        self.repository.update(
            Table.CHANNELS, call.key, Update(remove=("requested_seq", "requested_at"))
        )

    def call(self, call: ToolCallRecord) -> ToolCallRecord:
        """As it is now."""
        found = ToolCallRows(self.repository).find(CHANNEL, call.call_id)
        assert found is not None
        return found

    def events(self) -> list[Event]:
        return self.event_log.read(CHANNEL, after=0, limit=100).items

    def told(self) -> list[str]:
        """Of each event about a call: its type, and what was decided or came of it."""
        told = []
        for event in self.events():
            if event.type.startswith("tool."):
                wire = event.to_wire()["data"]
                what = wire.get("decision") or wire.get("outcome")
                told.append(event.type if what is None else f"{event.type} {what}")
        return told


OPEN_RULES: Sequence[ApprovalRule] = ("owner", "anyone", "requester")


def pending_calls(repository: IRepository, channel_id: str, question_seq: int) -> None:
    """A reply that waits for decisions: a call of `notes.add` for each of `OPEN_RULES`."""
    generations = GenerationsService(repository)
    generations.ask(channel_id, question_seq, "nobody", correlation_id=None)
    key = keys.open_generation_key(channel_id, question_seq, 1)
    update = Update(set=HELD, add={"fence": 1})
    row = OpenGeneration.model_validate(repository.update(Table.CHANNELS, key, update))
    calls = [NewCall.of(a_tool("notes.add", rule), {"text": "milk"}) for rule in OPEN_RULES]
    step = GenerationStep(
        calls=[StepCall(provider_call_id=each, tool="notes.add") for each in OPEN_RULES]
    )
    row = ToolCallsService(repository).request(row, step, calls, text="")
    repository.update(Table.CHANNELS, row.key, Update(set={"status": "waiting"}))


def pending_call_id(channel_id: str, question_seq: int, rule: ApprovalRule) -> str:
    return tool_call_id(channel_id, question_seq, 1, 0, OPEN_RULES.index(rule))


def a_tool(name: str, rule: ApprovalRule) -> ChannelTool:
    server, _, own = name.partition(".")
    return ChannelTool.of(server, OfferedTool(name=own, approval=rule))


def caller(user_id: str) -> Caller:
    return Caller(user_id=user_id, expires_at=2_000_000_000)


def offer(repository: IRepository, server: str, *tools: OfferedTool) -> None:
    record = ToolServerRecord(name=server, tools=list(tools), read_at="2026-01-01T00:00:00.000Z")
    repository.put(Table.CHANNELS, {**record.key, **record.model_dump(exclude_none=True)})
