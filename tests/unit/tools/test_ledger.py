"""What becomes of a call from its request to its end."""

import pytest
from tests.doubles.acting_room import ALICE, CHANNEL, Room
from tests.doubles.canary import canary

from commons.errors import ConflictError
from commons.ids import tool_call_id
from commons.records.generation import GenerationStep, StepCall
from commons.records.tool import BadArgumentsError
from commons.schemas.event import ApprovalRule, ToolFinished, ToolRequested
from commons.services.generation_endings import Ending, GenerationEndingsService
from commons.services.generation_hold import GenerationLostError
from commons.services.tool_calls import CallNotAllowedError, QuestionGoneError


def test_a_call_that_is_approved_is_made_once(room: Room) -> None:
    (call,) = room.ask()

    room.decide("alice", call)
    room.calls.finish(room.row, room.calls.start(room.row, call), "ok", "noted")

    assert room.told() == ["tool.requested", "tool.decided approved", "tool.finished ok"]
    with pytest.raises(CallNotAllowedError):
        room.calls.start(room.row, call)
    assert room.call(call).status == "done"


def test_a_request_says_what_is_asked_for_and_who_decides(room: Room) -> None:
    (call,) = room.ask("owner", arguments=[{"text": "milk", "count": 2}])

    event = room.events()[-1]

    assert isinstance(event, ToolRequested)
    assert event.sender.kind == "agent"
    assert event.to_wire()["data"] == {
        "target": 1,
        "generation": 1,
        "callId": call.call_id,
        "tool": "notes.add",
        "arguments": {"text": "milk", "count": 2},
        "approval": "owner",
        "expiresAt": "2027-01-15T08:01:40.000Z",
    }


def test_a_call_that_needs_nobody_is_approved_as_it_is_born(room: Room) -> None:
    (call,) = room.ask("none", tool="clock.now")

    room.calls.finish(room.row, room.calls.start(room.row, call), "ok", "noon")

    assert room.told() == ["tool.requested", "tool.finished ok"]
    assert "expiresAt" not in room.events()[1].to_wire()["data"]


@pytest.mark.parametrize("how", ["undecided", "denied", "expired", "cancelled"])
def test_a_call_that_nobody_approved_is_never_begun(room: Room, how: str) -> None:
    (call,) = room.ask()
    match how:
        case "denied":
            room.decide("alice", call, "deny")
        case "expired":
            room.clock.pass_seconds(101)
            room.decisions.expire(CHANNEL, call.call_id)
        case "cancelled":
            room.calls.cancel_pending(room.row, ALICE)

    with pytest.raises(CallNotAllowedError):
        room.calls.start(room.row, call)

    assert room.call(call).status in {"requested", "denied", "expired", "cancelled"}


def test_a_step_that_is_laid_down_again_is_the_same_calls_told_of_once(room: Room) -> None:
    held = room.row
    first = room.ask(arguments=[{"text": "milk"}, {"text": "eggs"}])
    room.row = held

    again = room.ask(arguments=[{"text": "milk"}, {"text": "eggs"}])

    assert [each.call_id for each in again] == [each.call_id for each in first]
    assert room.told() == ["tool.requested", "tool.requested"]


def test_a_worker_that_was_taken_over_asks_for_nothing_and_begins_nothing(room: Room) -> None:
    (call,) = room.ask("none")
    stale = room.row
    room.row = room.claim()

    with pytest.raises(GenerationLostError):
        room.calls.start(stale, call)
    with pytest.raises(GenerationLostError):
        room.calls.finish(stale, call, "error", "no")
    with pytest.raises(GenerationLostError):
        room.calls.request(stale, GenerationStep(), [], text="")

    assert room.told() == ["tool.requested"]


def test_calls_a_dead_worker_told_nobody_of_are_told_of_by_the_next_one(room: Room) -> None:
    calls = room.ask(arguments=[{"text": "milk"}, {"text": "eggs"}])
    room.untell(calls[1])

    told = room.calls.announce(room.row, 0)
    room.calls.announce(room.row, 0)

    assert [each.is_told for each in told] == [True, True]
    assert room.told() == ["tool.requested"] * 3


@pytest.mark.parametrize("idempotent", [True, False])
def test_only_a_call_that_is_safe_to_repeat_is_begun_again(room: Room, *, idempotent: bool) -> None:
    (call,) = room.ask("none", idempotent=idempotent)
    room.calls.start(room.row, call)
    room.row = room.claim()

    if idempotent:
        again = room.calls.start(room.row, call)
        assert (again.call_id, again.fence) == (call.call_id, 2)
        return
    with pytest.raises(CallNotAllowedError):
        room.calls.start(room.row, call)
    room.calls.finish(room.row, call, "unknown")
    assert room.told()[-1] == "tool.finished unknown"
    assert room.call(call).status == "unknown"


def test_whoever_was_unsure_whether_a_call_is_in_hand_finds_that_it_is(room: Room) -> None:
    (call,) = room.ask("none")

    first = room.calls.start(room.row, call)
    second = room.calls.start(room.row, call)

    assert first == second


def test_a_call_is_finished_once_and_the_first_end_stands(room: Room) -> None:
    (call,) = room.ask("none")
    room.calls.start(room.row, call)
    first = room.calls.finish(room.row, call, "unknown")

    late = room.calls.finish(room.row, call, "ok", "noted")

    assert late == first
    assert room.told() == ["tool.requested", "tool.finished unknown"]


def test_a_call_whose_fate_nobody_knows_rings_for_the_agent_whoever_ended_it(
    room: Room, capsys: pytest.CaptureFixture[str]
) -> None:
    (call,) = room.ask("none")
    room.calls.start(room.row, call)

    room.calls.finish(room.row, call, "unknown")

    assert '"service":"workers_agent","stage":"test","ToolUnknown":[1.0]' in capsys.readouterr().out


@pytest.mark.parametrize(("length", "is_cut"), [(4_096, False), (4_097, True)])
def test_an_event_tells_4_kb_of_a_result_and_the_model_is_shown_more(
    room: Room, length: int, *, is_cut: bool
) -> None:
    (call,) = room.ask("none")
    room.calls.start(room.row, call)

    event = room.calls.finish(room.row, call, "ok", "x" * length)

    assert isinstance(event, ToolFinished)
    assert event.data.result == "x" * 4_096
    assert event.data.truncated is (True if is_cut else None)
    assert room.call(call).result == "x" * length


def test_no_character_of_a_result_is_halved(room: Room) -> None:
    (call,) = room.ask("none")
    room.calls.start(room.row, call)

    event = room.calls.finish(room.row, call, "ok", "é" * 9_000)

    assert isinstance(event, ToolFinished)
    assert event.data.result == "é" * 2_048
    kept = room.call(call)
    assert (kept.result, kept.truncated) == ("é" * 8_192, True)


def test_what_a_tool_left_out_itself_is_said_to_be_left_out(room: Room) -> None:
    (call,) = room.ask("none")
    room.calls.start(room.row, call)

    event = room.calls.finish(room.row, call, "ok", "short", truncated=True)

    assert isinstance(event, ToolFinished)
    assert event.data.truncated is True


@pytest.mark.parametrize(
    ("rule", "approver"), [("anyone", "bob"), ("requester", "alice"), ("owner", "olga")]
)
def test_the_approver_has_to_be_a_member_when_the_call_begins(
    room: Room, rule: ApprovalRule, approver: str
) -> None:
    (call,) = room.ask(rule)
    room.decide(approver, call)
    room.leave(approver)

    with pytest.raises(CallNotAllowedError) as refused:
        room.calls.start(room.row, call)

    assert refused.value.reason == "right"


def test_an_owner_who_approved_has_to_be_one_when_the_call_begins(room: Room) -> None:
    (call,) = room.ask("owner")
    room.decide("olga", call)
    room.join("olga", role="member")

    with pytest.raises(CallNotAllowedError) as refused:
        room.calls.start(room.row, call)

    assert refused.value.reason == "right"


def test_a_call_whose_tool_the_channel_took_away_is_not_begun(room: Room) -> None:
    (call,) = room.ask()
    room.decide("alice", call)
    room.allow("clock.*")

    with pytest.raises(CallNotAllowedError) as refused:
        room.calls.start(room.row, call)

    assert refused.value.reason == "tool"


@pytest.mark.parametrize("born", ["none", "requester"])
def test_a_call_is_begun_under_the_rule_that_the_channel_has_then(
    room: Room, born: ApprovalRule
) -> None:
    (call,) = room.ask(born)
    if born == "requester":
        room.decide("alice", call)
    room.allow("notes.*", approval={"notes.add": "owner"})

    with pytest.raises(CallNotAllowedError) as refused:
        room.calls.start(room.row, call)

    assert refused.value.reason == "right"


@pytest.mark.parametrize("with_everything", [True, False])
def test_no_call_of_a_cancelled_reply_is_begun(room: Room, *, with_everything: bool) -> None:
    (call,) = room.ask("none")
    room.generations.cancel(CHANNEL, "bob", None if with_everything else 1)

    with pytest.raises(CallNotAllowedError) as refused:
        room.calls.start(room.row, call)

    assert refused.value.reason == "cancelled"


def test_nothing_is_asked_for_or_begun_for_a_question_that_was_deleted(room: Room) -> None:
    (call,) = room.ask("none")
    room.redact_question()

    with pytest.raises(CallNotAllowedError):
        room.calls.start(room.row, call)
    with pytest.raises(QuestionGoneError):
        room.ask("none")

    assert room.told() == ["tool.requested"]


def test_a_call_that_was_never_begun_comes_to_nothing_but_an_error(room: Room) -> None:
    (call,) = room.ask("none")

    with pytest.raises(ValueError, match="never begun"):
        room.calls.finish(room.row, call, "ok", "noted")

    room.calls.finish(room.row, call, "error", "The right is gone.")
    assert room.told()[-1] == "tool.finished error"


def test_a_reply_that_ends_closes_all_of_its_calls(room: Room) -> None:
    waiting, denied = room.ask(arguments=[{"text": "milk"}, {"text": "eggs"}])
    room.decide("alice", denied, "deny")
    never_begun, begun = room.ask("none", arguments=[{"text": "1"}, {"text": "2"}])
    room.calls.start(room.row, begun)

    endings = GenerationEndingsService(room.repository, event_log=room.event_log)
    endings.end(room.row, Ending(text="", failure="timeout"))

    assert [room.call(each).status for each in (waiting, denied, never_begun, begun)] == [
        "cancelled",
        "denied",
        "done",
        "unknown",
    ]
    assert room.told()[5:] == [
        "tool.decided cancelled",
        "tool.finished error",
        "tool.finished unknown",
    ]
    assert room.events()[-1].type == "agent.failed"


def test_a_reply_that_went_on_does_not_end_beside_the_calls_it_went_on_with(room: Room) -> None:
    stale = room.row
    (call,) = room.ask()

    endings = GenerationEndingsService(room.repository, event_log=room.event_log)
    endings.end(stale, Ending(text="I note it."))

    assert room.call(call).status == "cancelled"
    assert [event.type for event in room.events()][-2:] == ["tool.decided", "message.created"]


def test_a_call_nobody_was_told_of_ends_without_an_event(room: Room) -> None:
    _told, untold = room.ask(arguments=[{"text": "milk"}, {"text": "eggs"}])
    room.untell(untold)

    room.calls.cancel_pending(room.row, ALICE)

    assert room.told()[2:] == ["tool.decided cancelled"]
    assert room.call(untold).status == "cancelled"


def test_a_waiting_reply_is_cancelled_by_whoever_cancels_it(room: Room) -> None:
    (call,) = room.ask()
    room.wait()

    room.generations.cancel(CHANNEL, "bob")

    *_, decided, reply = room.events()
    assert (decided.type, decided.sender.id) == ("tool.decided", "bob")
    assert reply.to_wire()["data"] == {
        "text": "I note it.",
        "replyTo": 1,
        "generation": 1,
        "finishReason": "cancelled",
    }
    assert room.generations.list_open(CHANNEL) == []
    assert room.call(call).decided_by == "bob"


def test_a_worker_that_ends_a_cancelled_reply_says_who_cancelled(room: Room) -> None:
    room.ask()
    room.generations.cancel(CHANNEL, "bob")

    endings = GenerationEndingsService(room.repository, event_log=room.event_log)
    endings.end(room.row, Ending(text="I note it.", finish_reason="cancelled"))

    assert room.events()[-2].sender.id == "bob"


def test_a_waiting_reply_is_listed_as_such(room: Room) -> None:
    room.ask()
    room.wait()

    assert [row.status for row in room.generations.list_open(CHANNEL)] == ["waiting"]


def test_a_refused_call_of_a_step_gets_no_row(room: Room) -> None:
    step = GenerationStep(
        calls=[StepCall(provider_call_id="p", tool="no.such", error="There is no such tool.")]
    )

    room.row = room.calls.request(room.row, step, [], text="")

    assert room.calls.of_generation(room.row) == []
    assert room.row.steps[0].calls[0].call_id is None


@pytest.mark.parametrize("length", [16_384, 16_385])
def test_arguments_have_16_kb_at_most(room: Room, length: int) -> None:
    arguments = {"text": "x" * (length - len('{"text":""}'))}

    if length == 16_384:
        assert room.ask(arguments=[arguments])
    else:
        with pytest.raises(BadArgumentsError):
            room.ask(arguments=[arguments])


@pytest.mark.parametrize("value", [2**60, "\ud800"])
def test_arguments_that_have_no_canonical_form_make_no_call(room: Room, value: object) -> None:
    with pytest.raises(BadArgumentsError):
        room.ask(arguments=[{"value": value}])


def test_calls_of_two_channels_have_no_id_in_common(room: Room) -> None:
    assert tool_call_id("a", 1, 1, 0, 0) != tool_call_id("b", 1, 1, 0, 0)


def test_arguments_and_results_are_in_no_log_line(room: Room) -> None:
    """The fixture that every test has fails those where the canary word gets out."""
    made, denied, left = room.ask(
        "anyone", arguments=[{canary("name"): canary("value")} for _ in range(3)]
    )
    room.decide("bob", made)
    room.decide("bob", denied, "deny")
    with pytest.raises(ConflictError):
        room.decide("bob", left, digest=canary("digest"))
    room.calls.start(room.row, made)
    room.calls.finish(room.row, made, "error", canary("result"))
    room.wait()
    room.generations.cancel(CHANNEL, "alice")

    assert canary("value") in str(room.events())
    assert canary("result") in str(room.events())
