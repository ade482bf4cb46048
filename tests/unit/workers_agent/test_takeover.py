"""Workers that die, stall or race: one reply all the same."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Table, Update
from commons.schemas.generation import GenerationRequest
from commons.services.generation_endings import (
    Ending,
    GenerationEndingsService,
    GenerationLostError,
)
from commons.services.spend import SpendService
from workers_agent.services.claims import (
    INDEXES_RESERVED,
    Claim,
    ClaimsService,
    LeaseHeldError,
)

from .conftest import CHANNEL, FAST, Room, ScriptedModel, delivery, redact, says

type InBackground = Callable[[Callable[[], object]], threading.Thread]


def _request(seq: int) -> GenerationRequest:
    request = delivery(seq).request
    assert request is not None
    return request


@pytest.fixture
def claims(repository: InMemoryRepository) -> ClaimsService:
    return ClaimsService(repository, seconds=0.2, spend=SpendService(repository))


def _nothing() -> None:
    pass


def _die_in_the_middle(
    claims: ClaimsService, seq: int, text: str, *, before_it_is_known: Callable[[], None] = _nothing
) -> None:
    """What a worker leaves that was killed after a heartbeat."""
    claim = claims.claim(_request(seq))
    assert claim is not None
    claims.beat(claim, text=text, next_index=3)
    before_it_is_known()
    time.sleep(0.25)


def _cancel(room: Room, seq: int) -> None:
    room.generations.cancel(CHANNEL, "alice", seq)


def _end(room: Room, claim: Claim, text: str) -> None:
    GenerationEndingsService(room.repository, event_log=room.event_log).end(
        claim.row, Ending(text=text)
    )


def test_one_worker_holds_a_reply_at_a_time(room: Room, claims: ClaimsService) -> None:
    seq = room.say("Hello")
    claims.claim(_request(seq))

    with pytest.raises(LeaseHeldError) as raised:
        claims.claim(_request(seq))

    assert 0 < raised.value.seconds <= 0.2


def test_a_heartbeat_keeps_the_others_away(room: Room, claims: ClaimsService) -> None:
    seq = room.say("Hello")
    claim = claims.claim(_request(seq))
    assert claim is not None
    time.sleep(0.15)
    claims.beat(claim, text="so far", next_index=1)
    time.sleep(0.1)

    with pytest.raises(LeaseHeldError):
        claims.claim(_request(seq))


def test_a_dead_workers_reply_is_taken_over(room: Room, claims: ClaimsService) -> None:
    seq = room.say("Hello")
    _die_in_the_middle(claims, seq, "Half a")

    assert room.answer(ScriptedModel(says("A whole ", "one.")), seq) == []

    assert [reply.data.text for reply in room.replies()] == ["A whole one."]


def test_who_takes_over_starts_with_a_snapshot_past_all_that_was_sent(
    room: Room, claims: ClaimsService
) -> None:
    room.listen("socket")
    seq = room.say("Hello")
    _die_in_the_middle(claims, seq, "Half a")

    room.answer(ScriptedModel(says("A whole ", "one.", delay=0.03)), seq)

    first, *others = room.broadcaster.frames("socket")
    assert first["snapshot"] is True
    assert isinstance(first["index"], int)
    assert first["index"] > 3
    assert [frame["index"] for frame in others] == [
        first["index"] + position + 1 for position in range(len(others))
    ]
    assert room.broadcaster.text("socket") == "A whole one."


def test_no_index_is_used_twice_though_no_worker_lived_to_its_first_heartbeat(
    room: Room, claims: ClaimsService
) -> None:
    room.listen("socket")
    seq = room.say("Hello")
    first_indexes = []
    for _ in range(2):
        claim = claims.claim(_request(seq))
        assert claim is not None
        first_indexes.append(claim.first_index)
        time.sleep(0.25)

    room.answer(ScriptedModel(says("A whole ", "one.", delay=0.03)), seq)

    first, *_others = room.broadcaster.frames("socket")
    assert first["snapshot"] is True
    assert first_indexes == [0, INDEXES_RESERVED]
    assert first["index"] == 2 * INDEXES_RESERVED


def test_a_stalled_worker_that_wakes_up_writes_nothing(room: Room, claims: ClaimsService) -> None:
    seq = room.say("Hello")
    stalled = claims.claim(_request(seq))
    assert stalled is not None
    time.sleep(0.25)
    room.answer(ScriptedModel(says("Hi.")), seq)

    with pytest.raises(GenerationLostError):
        _end(room, stalled, "Late.")
    with pytest.raises(GenerationLostError):
        claims.beat(stalled, text="Late.", next_index=1)

    assert [reply.data.text for reply in room.replies()] == ["Hi."]


def test_of_two_that_both_believe_to_hold_it_the_last_claimant_writes(
    room: Room, claims: ClaimsService
) -> None:
    seq = room.say("Hello")
    first = claims.claim(_request(seq))
    time.sleep(0.25)
    second = claims.claim(_request(seq))
    assert first is not None
    assert second is not None

    with pytest.raises(GenerationLostError):
        _end(room, first, "First.")
    _end(room, second, "Second.")

    assert [reply.data.text for reply in room.replies()] == ["Second."]


def test_a_worker_whose_reply_was_taken_over_stops_at_once(
    room: Room, in_background: InBackground
) -> None:
    room.listen("socket")
    seq = room.say("Hello")
    undone: list[str] = []
    worker = room.worker(ScriptedModel(says(*["word "] * 1_000, delay=0.01)))
    answering = in_background(lambda: undone.extend(worker.answer([delivery(seq)])))
    while not room.broadcaster.frames("socket"):
        time.sleep(0.01)

    room.repository.update(
        Table.CHANNELS, keys.open_generation_key(CHANNEL, seq, 1), Update(add={"fence": 1})
    )
    answering.join()

    assert room.replies() == []
    assert undone == []


def test_a_message_seen_while_another_worker_writes_waits_and_does_not_fail(
    room: Room, claims: ClaimsService
) -> None:
    seq = room.say("Hello")
    claims.claim(_request(seq))

    assert room.answer(ScriptedModel(says("Hi.")), seq) == []

    ((request, delay),) = room.queue.returned
    assert request == _request(seq)
    assert 1 <= delay <= 17
    assert room.replies() == []


def test_a_dead_workers_reply_that_was_cancelled_ends_in_what_it_wrote(
    room: Room, claims: ClaimsService
) -> None:
    seq = room.say("Hello")
    _die_in_the_middle(claims, seq, "Half a", before_it_is_known=lambda: _cancel(room, seq))
    model = ScriptedModel(says("Hi."))

    room.answer(model, seq)

    (reply,) = room.replies()
    assert (reply.data.finish_reason, reply.data.text) == ("cancelled", "Half a")
    assert model.prompts == []


@pytest.mark.parametrize("laid_down", ["Half a", ""])
def test_who_heard_more_than_a_dead_worker_laid_down_hears_the_text_that_it_ends_in(
    room: Room, claims: ClaimsService, laid_down: str
) -> None:
    room.listen("socket")
    seq = room.say("Hello")
    _die_in_the_middle(claims, seq, laid_down, before_it_is_known=lambda: _cancel(room, seq))

    room.answer(ScriptedModel(says("Hi.")), seq)

    (frame,) = room.broadcaster.frames("socket")
    assert frame["snapshot"] is True
    assert frame["text"] == laid_down == room.replies()[0].data.text
    assert isinstance(frame["index"], int)
    assert frame["index"] > 3


def test_what_a_dead_worker_wrote_to_a_deleted_question_is_told_to_nobody(
    room: Room, claims: ClaimsService
) -> None:
    seq = room.say("Hello")
    room.listen("socket")

    def delete() -> None:
        redact(room, seq)
        room.generations.cancel_replies_to(CHANNEL, seq)

    _die_in_the_middle(claims, seq, "You asked: Hello", before_it_is_known=delete)

    room.answer(ScriptedModel(says("unused")), seq)

    assert room.broadcaster.frames("socket") == []
    assert [reply.data.text for reply in room.replies()] == [""]


@pytest.mark.parametrize("asks", [None, 1], ids=["all", "one"])
def test_a_cancel_ends_what_a_dead_worker_left_itself(
    room: Room, claims: ClaimsService, asks: int | None
) -> None:
    seq = room.say("Hello")
    _die_in_the_middle(claims, seq, "Hel")

    room.generations.cancel(CHANNEL, "alice", asks)

    (reply,) = room.replies()
    assert (reply.data.reply_to, reply.data.finish_reason) == (seq, "cancelled")
    assert reply.data.text == "Hel"
    assert room.generations.list_open(CHANNEL) == []


def test_a_cancel_leaves_to_a_living_worker_what_it_writes(
    room: Room, claims: ClaimsService
) -> None:
    seq = room.say("Hello")
    claims.claim(_request(seq))

    room.generations.cancel(CHANNEL, "alice")

    assert room.replies() == []
    assert [row.status for row in room.generations.list_open(CHANNEL)] == ["running"]


def test_a_reply_cancelled_before_its_first_worker_came_needs_no_delta(room: Room) -> None:
    room.listen("socket")
    seq = room.say("Hello")
    room.generations.cancel(CHANNEL, "alice", seq)

    room.answer(ScriptedModel(says("Hi.")), seq)

    assert room.broadcaster.frames("socket") == []


def test_a_question_that_kills_every_worker_is_closed_with_a_failure(
    room: Room, claims: ClaimsService
) -> None:
    seq = room.say("Hello")
    for _ in range(3):
        _die_in_the_middle(claims, seq, "")
    model = ScriptedModel(says("Hi."))

    room.answer(model, seq)

    assert [failure.data.reason for failure in room.failures()] == ["model_error"]
    assert model.prompts == []


def test_the_text_so_far_is_laid_down_while_it_is_written(
    room: Room, in_background: InBackground
) -> None:
    seq = room.say("Hello")
    worker = room.worker(ScriptedModel(says(*["word "] * 60, delay=0.01)))
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    time.sleep(0.4)

    laid_down = room.row(seq).text
    answering.join()

    assert laid_down.startswith("word ")


def test_questions_are_hidden_at_receipt_and_at_each_heartbeat(room: Room) -> None:
    one, two = room.say("one"), room.say("two")
    hidden_for = 1
    worker = room.worker(
        ScriptedModel(says("Hi ", "there.", delay=0.25)), pace=replace(FAST, hidden=hidden_for)
    )

    worker.answer([delivery(one), delivery(two)])

    receipts = [f"receipt-{CHANNEL}-{one}", f"receipt-{CHANNEL}-{two}"]
    assert room.queue.hidden == [(receipts, hidden_for)] * 2
