"""The timer with storage failing at each call in turn, for everything that can be due."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

import pytest
from tests.doubles.acting_room import OPEN_RULES, pending_call_id, pending_calls
from tests.integration.failing_calls.room import CHANNEL, FAILURES, Room

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import Table, Update
from commons.dynamodb.exceptions import StorageUnreachableError
from commons.records.generation import WORTH_ANSWERING_MILLISECONDS, FinishedText
from commons.records.timer import TimerKind, TimerRecord
from commons.schemas.event import ChannelDeletedData, Sender, Usage
from commons.schemas.generation import GenerationRequest
from commons.services.event_log import Draft, EventLogService
from commons.services.tool_call_rows import ToolCallRows
from workers_timer.composition import build_timers
from workers_timer.settings import TimerSettings

MOST_CALLS = 60
"""More than a run makes."""

LONG_AGO = epoch_milliseconds() - WORTH_ANSWERING_MILLISECONDS - 1_000


@dataclass
class Queue:
    """Takes everything but the first messages that it is to refuse."""

    refusing: int = 0
    asked: list[GenerationRequest] = field(default_factory=list)

    def ask(
        self,
        request: GenerationRequest,
        *,
        is_crowded: bool,  # noqa: ARG002 - it is one queue
    ) -> None:
        if self.refusing:
            self.refusing -= 1
            raise StorageUnreachableError("the queue")
        self.asked.append(request)


class World:
    """A room whose timers are all due, and a timer over storage that fails."""

    def __init__(self) -> None:
        self.room = Room()
        self.queue = Queue()
        self._timers = build_timers(
            TimerSettings(
                websocket_callback_url="unused",
                agent_queue_url="unused",
                agent_crowded_queue_url="unused",
                maximum_concurrency=20,
            ),
            repository=self.room.failing,
            broadcaster=self.room.broadcaster,
            queue=self.queue,
        )

    def change_reply(self, **attributes: object) -> None:
        key = keys.open_generation_key(CHANNEL, 1, 1)
        self.room.storage.update(Table.CHANNELS, key, Update(set=attributes))

    def timers(self) -> list[TimerRecord]:
        return [
            TimerRecord.model_validate(item)
            for item in self.room.storage.all_items(Table.CHANNELS)
            if str(item["pk"]).startswith("timer#")
        ]

    def make_due(self) -> None:
        for timer in self.timers():
            due = timer.model_copy(update={"due": 1})
            self.room.storage.transact([timer.removal()])
            self.room.storage.transact([due.write()])

    def run(self) -> None:
        self._timers.run()


type Check = Callable[[World], object]


def as_it_is(_world: World) -> None:
    """The worker's message was lost."""


def is_awake(world: World) -> None:
    assert {(each.question_seq, each.generation) for each in world.queue.asked} == {(1, 1)}
    assert [timer.kind for timer in world.timers()] == ["generation.watch"]


def too_old(world: World) -> None:
    world.change_reply(asked_at=LONG_AGO)


def has_failed(world: World) -> None:
    assert world.room.event_types()[2:] == ["agent.failed"]
    assert world.room.generations.list_open(CHANNEL) == []
    assert world.timers() == []


def too_old_and_laid_down(world: World) -> None:
    usage = Usage(model_id="model-a", input_tokens=1, output_tokens=1)
    finished = FinishedText(finish_reason="stop", usage=usage)
    world.change_reply(asked_at=LONG_AGO, text="Hi.", finished=finished.model_dump())


def is_answered(world: World) -> None:
    assert world.room.event_types()[2:] == ["message.created"]
    assert world.room.generations.list_open(CHANNEL) == []
    assert world.timers() == []


def of_deleted_channel(world: World) -> None:
    """As its deletion leaves it where everything after the commit failed; its reply is too old."""
    too_old(world)
    deleted = Update(set={"deleted": True})
    world.room.storage.update(Table.CHANNELS, keys.channel_key(CHANNEL), deleted)
    clearing = TimerRecord.of_deleted_channel(CHANNEL, 0)
    EventLogService(world.room.storage).append(
        CHANNEL,
        lambda: Draft(
            sender=Sender(id="alice", kind="user"),
            data=ChannelDeletedData(),
            writes=lambda _seq: [clearing.write()],
        ),
    )


def is_cleared(world: World) -> None:
    storage = world.room.storage
    assert world.room.connections.room(CHANNEL) == []
    assert not [row for row in storage.all_items(Table.CHANNELS) if "role" in row]
    assert world.room.generations.list_open(CHANNEL) == []
    assert world.room.event_types()[2:] == ["channel.deleted"]
    assert world.timers() == []


def nobody_decided(world: World) -> None:
    pending_calls(world.room.storage, CHANNEL, 2)
    for rule in OPEN_RULES:
        key = keys.tool_call_key(CHANNEL, pending_call_id(CHANNEL, 2, rule))
        world.room.storage.update(Table.CHANNELS, key, Update(set={"expires_at": 1}))


def have_expired(world: World) -> None:
    assert world.room.event_types()[2:].count("tool.decided") == len(OPEN_RULES)
    calls = ToolCallRows(world.room.storage).of_question(CHANNEL, 2)
    assert {call.status for call in calls} == {"expired"}
    assert {timer.kind for timer in world.timers()} == {"generation.watch"}


def of_deleted_question(world: World) -> None:
    """As its deletion leaves it where everything after the commit failed."""
    pending_calls(world.room.storage, CHANNEL, 2)
    redacted = Update(set={"redacted": True, "data": {"text": "", "redacted": True}})
    world.room.storage.update(Table.CHAT_EVENTS, keys.event_key(CHANNEL, 2), redacted)
    emptying = TimerRecord.of_deleted_message(CHANNEL, 2, None, 0)
    world.room.storage.transact([emptying.write()])


def is_emptied(world: World) -> None:
    assert [row.question_seq for row in world.room.generations.list_open(CHANNEL)] == [1]
    assert world.room.event_types()[-1] == "message.created"
    for table in (Table.CHANNELS, Table.CHAT_EVENTS):
        assert "milk" not in str(world.room.storage.all_items(table))


def of_deleted_reply(world: World) -> None:
    """As the deletion of a reply leaves it: the question stands, and what is written to it goes on."""
    pending_calls(world.room.storage, CHANNEL, 2)
    emptying = TimerRecord.of_deleted_message(CHANNEL, 2, 1, 0)
    world.room.storage.transact([emptying.write()])


def only_calls_are_emptied(world: World) -> None:
    assert [row.question_seq for row in world.room.generations.list_open(CHANNEL)] == [1, 2]
    for table in (Table.CHANNELS, Table.CHAT_EVENTS):
        assert "milk" not in str(world.room.storage.all_items(table))


DUE: dict[str, tuple[Callable[[World], None], Check]] = {
    "a reply that nobody writes": (as_it_is, is_awake),
    "a reply that is too old": (too_old, has_failed),
    "a reply that is too old and laid down": (too_old_and_laid_down, is_answered),
    "a deleted channel, and its reply": (of_deleted_channel, is_cleared),
    "calls that nobody decided": (nobody_decided, have_expired),
    "a deleted question that tools were asked for": (of_deleted_question, is_emptied),
    "a deleted reply that tools were asked for": (of_deleted_reply, only_calls_are_emptied),
}


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


def test_every_kind_of_timer_is_tried() -> None:
    tried: set[str] = set()
    for before, _check in DUE.values():
        world = World()
        before(world)
        tried |= {timer.kind for timer in world.timers()}

    assert tried == set(get_args(TimerKind.__value__))


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize(("before", "check"), DUE.values(), ids=DUE)
def test_whichever_call_fails_the_next_runs_do_what_is_due_once(
    before: Callable[[World], None], check: Check, kind: str
) -> None:
    for at_call in range(1, MOST_CALLS):
        world = World()
        before(world)
        world.make_due()
        world.room.fail(at_call, kind)

        world.run()
        has_failed = world.room.failing.has_failed
        world.room.heal()
        world.make_due()
        world.run()

        check(world)
        world.room.check()
        if not has_failed:
            assert at_call > keys.TIMER_SHARDS
            return
    raise AssertionError("a run makes more calls than were tried")


def test_a_worker_whose_message_the_queue_refused_is_woken_by_the_next_run() -> None:
    world = World()
    world.make_due()
    world.queue.refusing = 1

    world.run()
    world.run()

    is_awake(world)
