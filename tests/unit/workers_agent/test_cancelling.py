"""Replies that are cancelled, by whom and when."""

import threading
import time
from collections.abc import Callable

import pytest

from commons.errors import ChannelNotFoundError, InvalidRequestError

from .conftest import CHANNEL, Room, ScriptedModel, delivery, hangs, redact, says

type InBackground = Callable[[Callable[[], object]], threading.Thread]


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


def test_questions_asked_after_a_cancel_are_answered(room: Room) -> None:
    room.say("before")
    room.generations.cancel(CHANNEL, "alice")
    seq = room.say("after")

    room.answer(ScriptedModel(says("Hi.")), seq)

    assert [reply.data.text for reply in room.replies()] == ["Hi."]


def test_a_cancel_of_one_question_is_none_of_another(room: Room) -> None:
    first, second = room.say("one"), room.say("two")
    room.generations.cancel(CHANNEL, "alice", first)

    room.answer(ScriptedModel(says("Hi.")), second)

    assert [reply.data.text for reply in room.replies()] == ["Hi."]


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

    assert room.generations.latest(CHANNEL, room.replies()[0].seq) is None


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
