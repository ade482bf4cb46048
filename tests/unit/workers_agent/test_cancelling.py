"""Replies that are cancelled, by whom and when."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count
from types import SimpleNamespace

import pytest
from tests.doubles.acting_room import HELD
from tests.doubles.meter import Meter
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import PutWrite, Table, Update, Write
from commons.errors import ChannelNotFoundError, InvalidRequestError
from commons.records.generation import OpenGeneration
from commons.schemas.caller import Caller
from commons.schemas.message import PostMessage
from commons.services.event_log import EventLogService, Timing
from commons.services.generation_endings import Ending, GenerationEndingsService
from commons.services.generations import GenerationsService
from commons.services.head_memory import head_memory_of

from .conftest import CHANNEL, FAST, Room, ScriptedModel, delivery, hangs, redact, says

type InBackground = Callable[[Callable[[], object]], threading.Thread]


def _ends(room: Room) -> list[str | None]:
    return [reply.data.finish_reason for reply in room.replies()]


def _cancel_all(room: Room, _seq: int) -> None:
    room.generations.cancel(CHANNEL, "alice")


def _cancel_this(room: Room, seq: int) -> None:
    room.generations.cancel(CHANNEL, "alice", seq)


@pytest.mark.parametrize("cancel", [_cancel_all, _cancel_this])
def test_a_reply_being_written_ends_in_what_there_is(
    room: Room, in_background: InBackground, cancel: Callable[[Room, int], None]
) -> None:
    room.listen("socket")
    seq = room.say("Hello")
    worker = room.worker(ScriptedModel(says(*["word "] * 500, delay=0.01)))
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while len(room.broadcaster.frames("socket")) < 3:
        time.sleep(0.01)

    cancel(room, seq)
    cancelled_at = time.monotonic()
    answering.join()

    assert time.monotonic() - cancelled_at < 1.0
    (reply,) = room.replies()
    assert reply.data.finish_reason == "cancelled"
    assert reply.data.text.startswith("word word ")
    assert reply.data.usage is None
    assert room.broadcaster.text("socket") == reply.data.text


@pytest.mark.parametrize("cancel", [_cancel_all, _cancel_this])
def test_a_reply_not_yet_begun_ends_empty_and_asks_no_model(
    room: Room, cancel: Callable[[Room, int], None]
) -> None:
    seq = room.say("Hello")
    model = ScriptedModel(says("Hi."))

    cancel(room, seq)
    room.answer(model, seq)

    (reply,) = room.replies()
    assert (reply.data.finish_reason, reply.data.text) == ("cancelled", "")
    assert model.prompts == []


def test_cancelling_a_message_that_the_agent_was_not_asked_writes_nothing(room: Room) -> None:
    room.configure(mode="mention")
    seq = room.post("Hello, all")

    room.generations.cancel(CHANNEL, "alice", seq)

    assert room.replies() == []


def test_cancelling_a_question_before_its_dispatch_ends_its_reply(room: Room) -> None:
    room.configure(mode="mention")
    seq = room.post("Hello, @agent")

    room.generations.cancel(CHANNEL, "alice", seq)

    assert _ends(room) == ["cancelled"]
    assert not room.generations.ask(CHANNEL, seq, "alice", correlation_id=None)


def test_a_message_posted_before_the_agents_settings_changed_is_not_ended_ahead(
    room: Room,
) -> None:
    room.configure(mode="off")
    seq = room.post("Hello, all")
    room.configure(mode="always", agent_mode_changed_seq=seq + 1)

    room.generations.cancel(CHANNEL, "alice", seq)

    assert len(room.events()) == 1
    assert room.generations.list_open(CHANNEL) == []


def test_the_first_question_after_the_agents_settings_changed_is_ended_ahead(room: Room) -> None:
    changed = room.post("Before")
    room.configure(mode="always", agent_mode_changed_seq=changed)
    seq = room.post("Hello")

    room.generations.cancel(CHANNEL, "alice", seq)

    assert [reply.data.reply_to for reply in room.replies()] == [seq]


def test_a_reply_that_is_open_is_cancelled_though_the_agents_settings_changed(room: Room) -> None:
    seq = room.say("Hello")
    room.configure(mode="off", agent_mode_changed_seq=seq + 1)

    room.generations.cancel(CHANNEL, "alice", seq)

    assert _ends(room) == ["cancelled"]


@pytest.mark.parametrize(
    ("age", "ends"), [(3_600_000, ["cancelled"]), (3_600_001, [])], ids=["an hour", "past it"]
)
def test_a_question_is_ended_ahead_while_it_is_worth_answering(
    room: Room, age: int, ends: list[str]
) -> None:
    seq = room.post("Hello")
    posted_at = datetime.fromisoformat(room.events()[0].created_at)
    moment = round(posted_at.timestamp() * 1_000) + age
    generations = GenerationsService(room.repository, clock=lambda: moment)

    generations.cancel(CHANNEL, "alice", seq)

    assert _ends(room) == ends


def test_a_cancel_reaches_a_model_that_says_nothing(
    room: Room, in_background: InBackground
) -> None:
    seq = room.say("Hello")
    worker = room.worker(ScriptedModel(hangs()))
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    time.sleep(0.1)

    room.generations.cancel(CHANNEL, "alice")
    answering.join()

    assert [reply.data.finish_reason for reply in room.replies()] == ["cancelled"]


def test_a_queued_reply_is_cancelled_by_one_call(room: Room) -> None:
    for number in range(40):
        room.say(f"question {number}")
    meter = Meter()
    storage = InMemoryRepository(room.repository.tables, meter=meter)

    GenerationsService(storage).cancel(CHANNEL, "alice")

    assert room.generations.list_open(CHANNEL) == []
    assert _ends(room) == ["cancelled"] * 40
    assert len(meter.calls) < 40 + 15, meter.calls


def test_what_a_worker_takes_while_the_others_are_cancelled_is_left_to_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = [room.say(f"question {number}") for number in range(5)]
    list_open = GenerationsService.list_open

    def taken_meanwhile(service: GenerationsService, channel_id: str) -> list[OpenGeneration]:
        rows = list_open(service, channel_id)
        taken = Update(set=HELD, add={"fence": 1})
        room.repository.update(Table.CHANNELS, rows[2].key, taken)
        return rows

    monkeypatch.setattr(GenerationsService, "list_open", taken_meanwhile)
    room.generations.cancel(CHANNEL, "alice")
    monkeypatch.undo()

    assert [row.question_seq for row in room.generations.list_open(CHANNEL)] == [questions[2]]
    assert [reply.data.reply_to for reply in room.replies()] == [
        *questions[:2],
        *questions[3:],
    ]


def test_what_a_worker_gives_back_while_the_others_are_cancelled_is_ended_too(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = [room.say(f"question {number}") for number in range(3)]
    key = room.row(questions[1]).key
    written = Update(set=HELD, add={"fence": 1})
    room.repository.update(Table.CHANNELS, key, written)
    list_open = GenerationsService.list_open

    def given_back_meanwhile(service: GenerationsService, channel_id: str) -> list[OpenGeneration]:
        rows = list_open(service, channel_id)
        room.repository.update(Table.CHANNELS, key, Update(set={"status": "queued"}))
        return rows

    monkeypatch.setattr(GenerationsService, "list_open", given_back_meanwhile)
    room.generations.cancel(CHANNEL, "alice")
    monkeypatch.undo()

    assert room.generations.list_open(CHANNEL) == []
    assert _ends(room) == ["cancelled"] * 3


def test_a_reply_that_is_asked_for_anew_after_a_cancel_is_not_ended_by_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = room.say("Hello")
    room.answer(ScriptedModel(says("Hi.")), seq)
    list_open = GenerationsService.list_open

    def asked_anew_before(service: GenerationsService, channel_id: str) -> list[OpenGeneration]:
        room.generations.regenerate(CHANNEL, "alice", room.replies()[0].seq)
        return list_open(service, channel_id)

    monkeypatch.setattr(GenerationsService, "list_open", asked_anew_before)
    room.generations.cancel(CHANNEL, "alice")
    monkeypatch.undo()

    assert [row.generation for row in room.generations.list_open(CHANNEL)] == [2]
    assert _ends(room) == ["stop"]


def test_questions_asked_after_a_cancel_are_answered(room: Room) -> None:
    room.say("before")
    room.generations.cancel(CHANNEL, "alice")
    seq = room.say("after")

    room.answer(ScriptedModel(says("Hi.")), seq)

    assert _ends(room) == ["cancelled", "stop"]


def test_a_cancel_of_one_question_is_none_of_another(room: Room) -> None:
    first, second = room.say("one"), room.say("two")
    room.generations.cancel(CHANNEL, "alice", first)

    room.answer(ScriptedModel(says("Hi.")), second)

    assert _ends(room) == ["cancelled", "stop"]


def test_a_reply_that_has_ended_stays_as_it_is(room: Room) -> None:
    seq = room.say("Hello")
    room.answer(ScriptedModel(says("Hi.")), seq)

    room.generations.cancel(CHANNEL, "alice", seq)
    room.generations.cancel(CHANNEL, "alice")
    room.answer(ScriptedModel(says("Hi.")), seq)

    assert [reply.data.finish_reason for reply in room.replies()] == ["stop"]


def test_an_earlier_cancel_is_none_of_a_reply_asked_for_anew(room: Room) -> None:
    seq = room.say("Hello")
    room.answer(ScriptedModel(says("Hi.")), seq)
    room.generations.cancel(CHANNEL, "alice")

    regeneration = room.generations.regenerate(CHANNEL, "alice", room.replies()[0].seq)
    room.answer(ScriptedModel(says("Hi again.")), seq, generation=regeneration.generation)

    assert [reply.data.text for reply in room.replies()] == ["Hi.", "Hi again."]


def test_a_later_cancel_ends_a_reply_asked_for_anew(room: Room) -> None:
    seq = room.say("Hello")
    room.answer(ScriptedModel(says("Hi.")), seq)
    room.generations.regenerate(CHANNEL, "alice", room.replies()[0].seq)

    room.generations.cancel(CHANNEL, "alice")
    room.answer(ScriptedModel(says("Hi again.")), seq, generation=2)

    assert [reply.data.finish_reason for reply in room.replies()] == ["stop", "cancelled"]


def test_any_member_may_cancel_and_nobody_else(room: Room) -> None:
    room.say("Hello")
    room.join("bob")

    room.generations.cancel(CHANNEL, "bob")
    with pytest.raises(ChannelNotFoundError):
        room.generations.cancel(CHANNEL, "mallory")


def test_a_question_that_does_not_exist_cannot_be_cancelled_ahead(room: Room) -> None:
    with pytest.raises(InvalidRequestError):
        room.generations.cancel(CHANNEL, "alice", 5)


def test_cancelling_a_message_of_the_agent_leaves_nothing(room: Room) -> None:
    seq = room.say("Hello")
    room.answer(ScriptedModel(says("Hi.")), seq)

    room.generations.cancel(CHANNEL, "alice", room.replies()[0].seq)

    assert room.generations.list_open(CHANNEL) == []
    assert len(room.replies()) == 1


@pytest.mark.parametrize("why", ["off", "deleted"])
def test_cancelling_what_nobody_is_going_to_answer_leaves_nothing(room: Room, why: str) -> None:
    caller = Caller(user_id="alice", name=None, expires_at=0)
    seq = room.messages.post(CHANNEL, caller, PostMessage(text="Hello")).event.seq
    if why == "off":
        room.configure(mode="off")
    else:
        redact(room, seq)

    room.generations.cancel(CHANNEL, "alice", seq)

    assert len(room.events()) == 1


def test_a_question_deleted_before_its_turn_is_not_put_to_the_model(room: Room) -> None:
    seq = room.say("Hello")
    redact(room, seq)
    model = ScriptedModel(says("Hi."))

    room.answer(model, seq)

    assert [reply.data.finish_reason for reply in room.replies()] == ["cancelled"]
    assert model.prompts == []


def test_deleting_a_question_cancels_its_reply(room: Room, in_background: InBackground) -> None:
    room.listen("socket")
    seq = room.say("Hello")
    worker = room.worker(ScriptedModel(says(*["word "] * 500, delay=0.01)))
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while not room.broadcaster.frames("socket"):
        time.sleep(0.01)

    redact(room, seq)
    room.generations.cancel_replies_to(CHANNEL, seq)
    answering.join()

    assert [reply.data.finish_reason for reply in room.replies()] == ["cancelled"]


def test_a_question_deleted_in_the_last_moment_has_a_cancelled_reply(
    room: Room, in_background: InBackground
) -> None:
    room.listen("socket")
    seq = room.say("Hello")
    worker = room.worker(ScriptedModel(says("Hi ", "there.", delay=0.15)))
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while not room.broadcaster.frames("socket"):
        time.sleep(0.01)

    redact(room, seq)
    answering.join()

    assert [reply.data.finish_reason for reply in room.replies()] == ["cancelled"]


def test_a_cancel_of_queued_replies_ends_them_itself(room: Room) -> None:
    for _ in range(5):
        room.say("Hello")

    room.generations.cancel(CHANNEL, "alice")

    assert _ends(room) == ["cancelled"] * 5
    assert room.generations.list_open(CHANNEL) == []


def test_a_cancel_ends_queued_replies_though_storage_takes_half_a_second_for_each(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(10):
        room.say("Hello")
    half_seconds = count()
    slow = SimpleNamespace(monotonic=lambda: next(half_seconds) / 2)
    monkeypatch.setattr("commons.services.generations.time", slow)

    room.generations.cancel(CHANNEL, "alice")

    assert _ends(room) == ["cancelled"] * 10


@pytest.mark.parametrize("cancel", [_cancel_all, _cancel_this])
def test_a_cancel_before_the_append_wins(
    room: Room, monkeypatch: pytest.MonkeyPatch, cancel: Callable[[Room, int], None]
) -> None:
    seq = room.say("Hello")
    transact = room.repository.transact
    cancelled: list[int] = []

    def cancelling(writes: Sequence[Write]) -> None:
        is_end = any(
            isinstance(write, PutWrite) and write.item.get("sender_kind") == "agent"
            for write in writes
        )
        if is_end and not cancelled:
            cancelled.append(seq)
            cancel(room, seq)
        transact(writes)

    monkeypatch.setattr(room.repository, "transact", cancelling)

    room.answer(ScriptedModel(says("Hi.")), seq)

    (reply,) = room.replies()
    assert (reply.data.finish_reason, reply.data.text) == ("cancelled", "Hi.")


def test_a_question_deleted_before_the_append_is_answered_without_text(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = room.say("My secret is 1234.")
    transact = room.repository.transact
    deleted: list[int] = []

    def deleting(writes: Sequence[Write]) -> None:
        is_end = any(
            isinstance(write, PutWrite) and write.item.get("sender_kind") == "agent"
            for write in writes
        )
        if is_end and not deleted:
            deleted.append(seq)
            redact(room, seq)
        transact(writes)

    monkeypatch.setattr(room.repository, "transact", deleting)

    room.answer(ScriptedModel(says("It is 1234.")), seq)

    (reply,) = room.replies()
    assert (reply.data.finish_reason, reply.data.text) == ("cancelled", "")


def test_a_connection_that_takes_nothing_delays_no_cancel(
    room: Room, in_background: InBackground
) -> None:
    room.listen("good")
    room.listen("bad", "bob")
    room.broadcaster.failing.add("bad")
    seq = room.say("Hello")
    worker = room.worker(
        ScriptedModel(says(*["word "] * 500, delay=0.01)), pace=replace(FAST, last_deltas=60.0)
    )
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while len(room.broadcaster.frames("good")) < 3:
        time.sleep(0.01)

    room.generations.cancel(CHANNEL, "alice", seq)
    while not room.replies():
        time.sleep(0.01)
    room.broadcaster.failing.clear()
    answering.join()

    assert room.broadcaster.text("good") == room.replies()[0].data.text


def test_a_model_is_hung_up_on_where_its_channel_is_deleted(
    room: Room, in_background: InBackground
) -> None:
    room.listen("socket")
    seq = room.say("Hello")
    worker = room.worker(ScriptedModel(says(*["word "] * 5_000, delay=0.01)))
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while not room.broadcaster.frames("socket"):
        time.sleep(0.01)

    channel = room.repository.get(Table.CHANNELS, keys.channel_key(CHANNEL))
    room.repository.put(Table.CHANNELS, {**channel, "deleted": True})
    answering.join()

    assert room.replies() == []
    assert room.generations.list_open(CHANNEL) == []
    assert room.usage().requests == 1


def test_a_cancelled_question_ends_at_once_though_the_batch_is_busy(
    room: Room, in_background: InBackground
) -> None:
    slow, cancelled = room.say("one"), room.say("two")
    room.generations.cancel(CHANNEL, "alice", cancelled)
    worker = room.worker(ScriptedModel(says(*["word "] * 100, delay=0.01)))
    answering = in_background(lambda: worker.answer([delivery(slow), delivery(cancelled)]))

    time.sleep(0.5)
    ended = [(reply.data.reply_to, reply.data.finish_reason) for reply in room.replies()]
    answering.join()

    assert ended == [(cancelled, "cancelled")]
    assert len(room.replies()) == 2


@pytest.mark.parametrize(
    ("ending", "waits"),
    [(Ending(text="Half", finish_reason="cancelled"), 0), (Ending(text="Whole"), 1)],
    ids=["cancelled", "answered"],
)
def test_in_a_crowd_a_cancelled_end_waits_for_nobody(
    room: Room, ending: Ending, waits: int
) -> None:
    seq = room.say("Hello")
    moment = time.monotonic()
    head_memory_of(room.repository).note_lost(CHANNEL, moment, widen_by=0.5)
    waited: list[float] = []
    timing = Timing(clock=lambda: moment, sleep=waited.append, jitter=lambda most: most)
    endings = GenerationEndingsService(
        room.repository, event_log=EventLogService(room.repository, timing=timing)
    )
    row = room.generations.find_open(CHANNEL, seq)
    assert row is not None

    endings.end(row, ending)

    assert len(waited) == waits
