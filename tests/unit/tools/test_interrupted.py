"""What changes between the look at things and the write is seen by the write."""

from collections.abc import Callable

import pytest
from tests.doubles.acting_room import ALICE, CHANNEL, Room, caller
from tests.doubles.interrupted import InterruptedRepository

from commons.errors import (
    ChannelNotFoundError,
    ConflictError,
    DecidedBeforeError,
    ForbiddenError,
)
from commons.schemas.event import ToolFinished
from commons.services.event_log import EventLogService
from commons.services.generation_endings import Ending, GenerationEndingsService
from commons.services.generation_hold import GenerationLostError
from commons.services.tool_calls import CallNotAllowedError, QuestionGoneError, ToolCallsService
from commons.services.tool_decisions import ToolDecisionsService


@pytest.fixture
def storage(room: Room) -> InterruptedRepository:
    return InterruptedRepository(room.repository.tables)


@pytest.fixture
def calls(storage: InterruptedRepository, room: Room) -> ToolCallsService:
    """The worker's, whose next transaction something may come before."""
    return ToolCallsService(storage, event_log=EventLogService(storage), clock=room.clock)


def take_tool(room: Room) -> None:
    room.allow("clock.*")


def tighten(room: Room) -> None:
    room.allow("notes.*", approval={"notes.add": "owner"})


def leave(room: Room) -> None:
    room.leave("bob")


def cancel_call(room: Room) -> None:
    (call,) = room.calls.of_generation(room.row)
    room.decide("alice", call, "deny")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (leave, ChannelNotFoundError),
        (tighten, ForbiddenError),
        (take_tool, ConflictError),
        (Room.redact_question, ConflictError),
        (Room.delete_channel, ChannelNotFoundError),
        (cancel_call, DecidedBeforeError),
    ],
)
def test_no_approval_goes_by_what_was_true_a_moment_before(
    room: Room,
    storage: InterruptedRepository,
    change: Callable[[Room], None],
    error: type[Exception],
) -> None:
    (call,) = room.ask("anyone")
    decisions = ToolDecisionsService(storage, clock=room.clock)
    storage.before = lambda: change(room)

    with pytest.raises(error):
        decisions.decide(CHANNEL, caller("bob"), call.call_id, "approve")

    assert "tool.decided approved" not in room.told()
    assert room.call(call).status in {"requested", "denied"}


def test_an_owner_who_is_one_no_more_approves_nothing(
    room: Room, storage: InterruptedRepository
) -> None:
    (call,) = room.ask("owner")
    storage.before = lambda: room.join("olga")

    with pytest.raises(ForbiddenError):
        ToolDecisionsService(storage, clock=room.clock).decide(
            CHANNEL, caller("olga"), call.call_id, "approve"
        )

    assert room.told() == ["tool.requested"]


def test_nothing_is_laid_down_for_a_question_that_is_deleted_meanwhile(
    room: Room, storage: InterruptedRepository, calls: ToolCallsService
) -> None:
    storage.before = room.redact_question
    healthy, room.calls = room.calls, calls

    with pytest.raises(QuestionGoneError):
        room.ask()

    assert healthy.of_generation(room.row) == []


def test_nothing_is_told_of_a_question_that_is_deleted_meanwhile(
    room: Room, storage: InterruptedRepository, calls: ToolCallsService
) -> None:
    def after_laying_down() -> None:
        storage.before = room.redact_question

    storage.after = after_laying_down
    room.calls = calls

    with pytest.raises(QuestionGoneError):
        room.ask()

    assert room.told() == []


def test_what_a_call_came_to_is_told_to_nobody_where_its_question_is_deleted_meanwhile(
    room: Room, storage: InterruptedRepository, calls: ToolCallsService
) -> None:
    (call,) = room.ask("none")
    room.calls.start(room.row, call)
    storage.before = room.redact_question

    event = calls.finish(room.row, call, "ok", "noted")

    assert isinstance(event, ToolFinished)
    assert (event.data.result, event.data.redacted) == ("", True)
    assert room.call(call).result is None


def test_a_reply_that_a_worker_takes_meanwhile_is_not_cancelled_under_its_hands(
    room: Room, storage: InterruptedRepository, calls: ToolCallsService
) -> None:
    room.ask()
    storage.before = room.claim

    with pytest.raises(GenerationLostError):
        calls.cancel_pending(room.row, ALICE)

    assert room.told() == ["tool.requested"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Room.redact_question, "cancelled"),
        (take_tool, "tool"),
        (tighten, "right"),
        (leave, "right"),
        (lambda room: room.generations.cancel(CHANNEL, "alice"), "cancelled"),
        (lambda room: room.generations.cancel(CHANNEL, "alice", 1), "cancelled"),
    ],
)
def test_no_call_is_begun_by_what_was_true_a_moment_before(
    room: Room,
    storage: InterruptedRepository,
    calls: ToolCallsService,
    change: Callable[[Room], None],
    reason: str,
) -> None:
    (call,) = room.ask("anyone")
    room.decide("bob", call)
    storage.before = lambda: change(room)

    with pytest.raises(CallNotAllowedError) as refused:
        calls.start(room.row, call)

    assert refused.value.reason == reason
    assert room.call(call).status == "approved"


@pytest.mark.parametrize(
    ("change", "error"),
    [(Room.claim, GenerationLostError), (Room.delete_channel, ChannelNotFoundError)],
)
def test_no_call_is_begun_by_a_worker_that_is_taken_over_or_in_a_channel_that_is_gone(
    room: Room,
    storage: InterruptedRepository,
    calls: ToolCallsService,
    change: Callable[[Room], None],
    error: type[Exception],
) -> None:
    (call,) = room.ask("none")
    storage.before = lambda: change(room)

    with pytest.raises(error):
        calls.start(room.row, call)

    assert room.call(call).status == "approved"


def test_a_reply_does_not_end_beside_a_step_that_is_laid_down_meanwhile(
    room: Room, storage: InterruptedRepository
) -> None:
    held = room.row
    storage.before = room.ask

    GenerationEndingsService(storage).end(held, Ending(text="Done."))

    (call,) = room.calls.of_generation(room.row)
    assert call.status == "cancelled"
    assert room.events()[-1].type == "message.created"
