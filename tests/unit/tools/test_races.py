"""Who decides, and what dies in between: one decision, one call, one end."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from threading import Barrier

import pytest
from tests.doubles.acting_room import ALICE, CHANNEL, Clock, Room, caller
from tests.doubles.faults import FailingRepository, Failure
from tests.doubles.repository import InMemoryRepository

from commons.dynamodb.exceptions import StorageUnreachableError
from commons.errors import ChatError, DecidedBeforeError
from commons.records.tool import ToolCallRecord
from commons.schemas.event import Event, ToolDecided
from commons.schemas.tool import Decision
from commons.services.event_log import EventLogService
from commons.services.generation_endings import Ending, GenerationEndingsService
from commons.services.generation_hold import GenerationLostError
from commons.services.generations import GenerationsService
from commons.services.tool_calls import CallNotAllowedError, ToolCallsService
from commons.services.tool_decisions import ToolDecisionsService

ROUNDS = 40


def at_once(calls: Sequence[Callable[[], object]]) -> list[object]:
    """Runs the calls together; what one raises is its result."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return call()
        except (ChatError, GenerationLostError, CallNotAllowedError) as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def beside(room: Room) -> InMemoryRepository:
    """The same storage, of a function of its own."""
    return InMemoryRepository(room.repository.tables)


def deciding(room: Room, who: str, call: ToolCallRecord, decision: Decision) -> Callable[[], Event]:
    decisions = ToolDecisionsService(beside(room), clock=room.clock)
    return lambda: decisions.decide(CHANNEL, caller(who), call.call_id, decision).content


def decisions_of(room: Room) -> list[ToolDecided]:
    return [event for event in room.events() if isinstance(event, ToolDecided)]


def test_of_decisions_at_once_one_counts_and_the_others_are_told_which() -> None:
    for _ in range(ROUNDS):
        room = Room(InMemoryRepository())
        (call,) = room.ask("anyone")
        tries: list[tuple[str, Decision]] = [
            ("alice", "approve"),
            ("alice", "approve"),
            ("bob", "deny"),
            ("olga", "approve"),
        ]

        outcomes = at_once([deciding(room, who, call, what) for who, what in tries])

        (decided,) = decisions_of(room)
        for (who, what), outcome in zip(tries, outcomes, strict=True):
            says = "approved" if what == "approve" else "denied"
            if (who, says) == (decided.sender.id, decided.data.decision):
                assert outcome == decided
            else:
                assert isinstance(outcome, DecidedBeforeError)
                assert (outcome.decision, outcome.decided_by) == (
                    decided.data.decision,
                    decided.sender.id,
                )
        assert room.call(call).status == decided.data.decision


def test_a_decision_an_expiry_and_a_cancel_at_once_leave_one_of_them() -> None:
    seen = set()
    for _ in range(ROUNDS):
        room = Room(InMemoryRepository())
        (call,) = room.ask("anyone")
        room.wait()
        late = Clock()
        late.pass_seconds(1_000)
        expiring = ToolDecisionsService(beside(room), clock=late)
        cancelling = GenerationsService(beside(room))

        at_once(
            [
                deciding(room, "alice", call, "approve"),
                partial(expiring.expire, CHANNEL, call.call_id),
                partial(cancelling.cancel, CHANNEL, "bob"),
            ]
        )

        (decided,) = decisions_of(room)
        seen.add(decided.data.decision)
        assert room.generations.list_open(CHANNEL) == []
        assert room.events()[-1].type == "message.created"
        finished = [each for each in room.told() if each.startswith("tool.finished")]
        is_approved = decided.data.decision == "approved"
        assert finished == (["tool.finished error"] if is_approved else [])
        with pytest.raises((GenerationLostError, CallNotAllowedError)):
            room.calls.start(room.row, call)
    assert seen <= {"approved", "expired", "cancelled"}


def test_of_workers_at_once_one_begins_a_call() -> None:
    for _ in range(ROUNDS):
        room = Room(InMemoryRepository())
        (call,) = room.ask("none")
        stale = room.row
        rows = [stale, room.claim(), room.claim(), room.claim()]

        outcomes = at_once(
            [partial(ToolCallsService(beside(room)).start, row, call) for row in rows]
        )

        begun = [each for each in outcomes if isinstance(each, ToolCallRecord)]
        assert len(begun) == 1
        assert begun[0].fence == rows[-1].fence


@pytest.mark.parametrize("change", ["leaves", "is demoted", "tool is taken away"])
def test_a_right_that_is_lost_as_the_call_begins_is_lost_before_or_after_it(change: str) -> None:
    for _ in range(ROUNDS):
        room = Room(InMemoryRepository())
        (call,) = room.ask("owner")
        room.decide("olga", call)

        losses: dict[str, Callable[[], object]] = {
            "leaves": partial(room.leave, "olga"),
            "is demoted": partial(room.join, "olga"),
            "tool is taken away": partial(room.allow, "clock.*"),
        }
        starting = partial(ToolCallsService(beside(room)).start, room.row, call)
        begun, _ = at_once([starting, losses[change]])

        assert isinstance(begun, ToolCallRecord | CallNotAllowedError)
        is_running = room.call(call).status == "running"
        assert isinstance(begun, ToolCallRecord) == is_running


class Worker:
    """The least of a worker: one process, which dies at a call of its storage."""

    def __init__(self, room: Room, made: list[str], failure: Failure | None) -> None:
        storage = FailingRepository(beside(room))
        storage.arm(failure)
        self.storage = storage
        self.room = room
        self.made = made
        log = EventLogService(storage)
        self.calls = ToolCallsService(storage, event_log=log, clock=room.clock)
        self.endings = GenerationEndingsService(storage, event_log=log, calls=self.calls)

    def go_on(self) -> bool:
        """False where it has died."""
        self.room.row = self.room.claim()
        self.room.calls = self.calls
        try:
            self._go_on()
        except StorageUnreachableError:
            return False
        return True

    def _go_on(self) -> None:
        room = self.room
        if room.row.step_count == 0:
            room.ask("anyone", arguments=[{"text": "1"}, {"text": "2"}])
        calls = self.calls.announce(room.row, 0)
        if any(call.is_pending for call in calls):
            return
        for call in calls:
            if call.status == "approved":
                self.calls.start(room.row, call)
                self.made.append(call.call_id)
                self.calls.finish(room.row, call, "ok", "noted")
            elif call.status == "running":
                self.calls.finish(room.row, call, "unknown")
        self.endings.end(room.row, Ending(text="Done."))


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("phase", ["asking", "acting"])
def test_whichever_call_a_worker_dies_at_every_call_is_told_and_made_once(
    phase: str, *, committed: bool
) -> None:
    for at_call in count(1):
        room = Room(InMemoryRepository())
        made: list[str] = []
        failure = Failure(at_call, StorageUnreachableError, committed=committed)
        healthy = room.calls

        is_done = Worker(room, made, failure if phase == "asking" else None).go_on()
        if not is_done:
            Worker(room, made, None).go_on()
        for call in healthy.of_generation(room.row):
            room.decide("bob", call)
        if phase == "acting":
            is_done = Worker(room, made, failure).go_on()
        if room.generations.list_open(CHANNEL):
            Worker(room, made, None).go_on()

        calls = healthy.of_generation(room.row)
        told = room.told()
        assert len(calls) == 2
        assert told.count("tool.requested") == 2
        assert told.count("tool.decided approved") == 2
        assert sum(each.startswith("tool.finished") for each in told) == 2
        assert room.events()[-1].type == "message.created"
        assert [event.seq for event in room.events()] == list(range(1, len(room.events()) + 1))
        for call in calls:
            assert made.count(call.call_id) <= 1
            if call.status == "done":
                assert made.count(call.call_id) == 1
            else:
                assert call.status == "unknown"
        assert room.generations.list_open(CHANNEL) == []
        if is_done:
            assert at_call > 5
            return


def test_whichever_call_of_a_cancel_fails_the_next_one_ends_everything() -> None:
    for at_call in count(1):
        room = Room(InMemoryRepository())
        calls = room.ask("anyone", arguments=[{"text": "1"}, {"text": "2"}])
        room.wait()
        room.decide("bob", calls[0])
        storage = FailingRepository(beside(room))
        storage.arm(Failure(at_call, StorageUnreachableError, committed=at_call % 2 == 0))

        try:
            GenerationsService(storage).cancel(CHANNEL, "alice")
        except StorageUnreachableError:
            room.generations.cancel(CHANNEL, "alice")

        assert room.generations.list_open(CHANNEL) == []
        assert [room.call(each).status for each in calls] == ["done", "cancelled"]
        assert room.told()[3:] == ["tool.finished error", "tool.decided cancelled"]
        if not storage.has_failed:
            assert at_call > 5
            return


def test_no_call_of_a_reply_that_ended_is_decided_or_begun(room: Room) -> None:
    (call,) = room.ask("anyone")
    room.calls.cancel_pending(room.row, ALICE)

    with pytest.raises(DecidedBeforeError) as refused:
        room.decide("bob", call)

    assert refused.value.decision == "cancelled"
