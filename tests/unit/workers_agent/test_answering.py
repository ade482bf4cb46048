"""What becomes of a question, seen in the log and by who listens."""

import time
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from commons import keys
from commons.dal import Table
from commons.schemas.event import AgentFailed, FailureReason, MessageCreated, Usage
from workers_agent.model import Chunk, EndChunk, ModelFailedError, Prompt, TextChunk
from workers_agent.schemas import Delivery

from .conftest import CHANNEL, FAST, Room, ScriptedModel, delivery, fails, hangs, redact, says


def test_a_question_is_answered_in_one_message(room: Room) -> None:
    seq = room.say("How are you?")

    undone = room.answer(ScriptedModel(says("I am ", "fine.")), seq)

    assert undone == []
    (reply,) = room.replies()
    assert reply.sender.id == "#agent"
    assert reply.data.text == "I am fine."
    assert reply.data.reply_to == seq
    assert reply.data.generation == 1
    assert reply.data.finish_reason == "stop"
    assert reply.data.usage == Usage(model_id="m", input_tokens=7, output_tokens=3)


def test_the_correlation_id_of_the_question_is_carried_to_the_reply(room: Room) -> None:
    seq = room.say("Hello")

    room.answer(ScriptedModel(says("Hi.")), seq)

    stored = room.repository.get(Table.CHAT_EVENTS, keys.event_key(CHANNEL, seq + 1))
    assert stored["correlation_id"] == f"correlation-{seq}"


def test_a_message_delivered_twice_is_answered_and_paid_for_once(room: Room) -> None:
    seq = room.say("Hello")
    model = ScriptedModel(says("Hi."))

    room.answer(model, seq)
    undone = room.answer(model, seq)

    assert undone == []
    assert len(room.replies()) == 1
    assert len(model.prompts) == 1


def test_twice_in_one_batch_is_answered_once(room: Room) -> None:
    seq = room.say("Hello")
    model = ScriptedModel(says("Hi.", delay=0.05))
    worker = room.worker(model)

    undone = worker.answer([delivery(seq), delivery(seq)])

    assert undone == []
    assert len(room.replies()) == 1
    assert len(model.prompts) == 1
    ((request, _delay),) = room.queue.returned
    assert request.question_seq == seq


def test_the_questions_of_a_batch_are_answered_side_by_side(room: Room) -> None:
    model = ScriptedModel(says("slow", "ly", delay=0.2))
    for number in range(8):
        room.join("alice", f"channel-{number}")
        room.configure(f"channel-{number}", mode="always")
    deliveries = [
        delivery(room.say("Hello", channel=f"channel-{number}"), channel_id=f"channel-{number}")
        for number in range(8)
    ]

    started = time.monotonic()
    assert room.worker(model).answer(deliveries) == []

    assert time.monotonic() - started < 8 * 0.4
    for number in range(8):
        assert len(room.replies(f"channel-{number}")) == 1


def test_one_questions_trouble_is_not_the_others(room: Room) -> None:
    first, second = room.say("one"), room.say("two")
    model = ScriptedModel(fails(RuntimeError("a bug")), says("Hi."))
    worker = room.worker(model)

    undone = worker.answer([delivery(first), delivery(second)])

    assert len(undone) == 1
    assert len(room.replies()) == 1


def test_a_body_that_is_no_request_goes_back_to_the_queue(room: Room) -> None:
    worker = room.worker(ScriptedModel(says("Hi.")))

    assert worker.answer([Delivery("message-1", "receipt-1", None, "agent")]) == ["message-1"]


def test_a_message_about_a_reply_that_nobody_asked_for_is_taken_off(room: Room) -> None:
    model = ScriptedModel(says("Hi."))

    assert room.answer(model, 99) == []

    assert model.prompts == []


def test_nobody_answers_in_a_channel_that_is_gone(room: Room) -> None:
    seq = room.say("Hello")
    channel = room.repository.get(Table.CHANNELS, keys.channel_key(CHANNEL))
    room.repository.put(Table.CHANNELS, {**channel, "deleted": True})
    model = ScriptedModel(says("Hi."))

    assert room.answer(model, seq) == []

    assert room.replies() == []
    assert model.prompts == []
    assert room.generations.list_open(CHANNEL) == []


def test_when_a_reply_has_ended_its_text_is_in_the_log_alone(room: Room) -> None:
    seq = room.say("Hello")

    room.answer(ScriptedModel(says("a secret", " and ", "more", delay=0.15)), seq)

    assert room.has_ended(seq)
    assert "secret" not in room.everything_stored()


@pytest.mark.parametrize("finish", ["length", "filtered"])
def test_why_a_model_stopped_early_is_said(room: Room, finish: str) -> None:
    seq = room.say("Hello")
    end = EndChunk("length") if finish == "length" else EndChunk("filtered")

    room.answer(ScriptedModel(says("Half a", finish=end)), seq)

    (reply,) = room.replies()
    assert reply.data.finish_reason == finish
    assert reply.data.text == "Half a"


def test_a_reply_longer_than_a_message_may_be_is_cut(room: Room) -> None:
    seq = room.say("Hello")

    room.answer(ScriptedModel(says("x" * 9_000, "y" * 9_000, "z")), seq)

    (reply,) = room.replies()
    assert len(reply.data.text) == 16_000
    assert reply.data.finish_reason == "length"


def test_a_character_cut_in_two_by_the_server_arrives_whole(room: Room) -> None:
    seq = room.say("Hello")

    room.answer(ScriptedModel(says("Oh \ud83d", "\ude00!")), seq)

    assert room.replies()[0].data.text == "Oh 😀!"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelFailedError("throttled", retryable=True), "throttled"),
        (ModelFailedError("model_error", retryable=True), "model_error"),
        (ModelFailedError("model_error", retryable=False), "model_error"),
    ],
)
def test_a_model_that_keeps_failing_ends_in_one_failure(
    room: Room, error: ModelFailedError, reason: FailureReason
) -> None:
    seq = room.say("Hello")

    assert room.answer(ScriptedModel(fails(error)), seq) == []

    (failure,) = room.failures()
    assert (failure.data.target, failure.data.generation) == (seq, 1)
    assert failure.data.reason == reason
    assert failure.sender.id == "#agent"
    assert room.replies() == []
    assert room.has_ended(seq)


def test_a_failure_that_may_pass_is_tried_again(room: Room) -> None:
    seq = room.say("Hello")
    throttled = fails(ModelFailedError("throttled", retryable=True))
    model = ScriptedModel(throttled, throttled, says("Hi."))

    room.answer(model, seq)

    assert room.replies()[0].data.text == "Hi."
    assert room.failures() == []
    assert len(model.prompts) == 3


def test_what_was_deleted_meanwhile_is_not_asked_with_again(room: Room) -> None:
    earlier = room.say("my secret")
    seq = room.say("Hello")

    async def fails_after_a_deletion(_prompt: Prompt) -> AsyncGenerator[Chunk]:
        yield TextChunk("Well")
        redact(room, earlier)
        raise ModelFailedError("model_error", retryable=True)

    model = ScriptedModel(fails_after_a_deletion, says("Hi."))

    room.answer(model, seq)

    first, second = model.prompts
    assert "my secret" in repr(first.turns)
    assert "my secret" not in repr(second.turns)
    assert "Hello" in repr(second.turns)
    assert room.replies()[0].data.text == "Hi."


def test_a_question_deleted_meanwhile_is_not_asked_again(room: Room) -> None:
    room.say("Good morning")
    seq = room.say("Hello")

    async def fails_after_a_deletion(_prompt: Prompt) -> AsyncGenerator[Chunk]:
        yield TextChunk("Well")
        redact(room, seq)
        raise ModelFailedError("model_error", retryable=True)

    model = ScriptedModel(fails_after_a_deletion, says("Hi."))

    room.answer(model, seq)

    assert len(model.prompts) == 1
    assert [reply.data.finish_reason for reply in room.replies()] == ["cancelled"]


def test_an_error_that_would_come_again_is_not_tried_again(room: Room) -> None:
    seq = room.say("Hello")
    model = ScriptedModel(fails(ModelFailedError("model_error", retryable=False)), says("Hi."))

    room.answer(model, seq)

    assert len(model.prompts) == 1


def test_nobody_waits_for_a_retry_that_would_come_too_late(room: Room) -> None:
    seq = room.say("Hello")
    busy = ModelFailedError("throttled", retryable=True, retry_after=FAST.total + 0.5)
    model = ScriptedModel(fails(busy), says("Hi."))

    room.answer(model, seq)

    assert [failure.data.reason for failure in room.failures()] == ["throttled"]


def test_a_stream_that_breaks_is_started_anew_and_told_as_a_snapshot(room: Room) -> None:
    seq = room.say("Hello")
    room.listen("socket")
    broken = fails(ModelFailedError("model_error", retryable=True), after=["Half ", "a "])

    room.answer(ScriptedModel(broken, says("A whole ", "answer.")), seq)

    assert room.replies()[0].data.text == "A whole answer."
    assert room.broadcaster.text("socket") == "A whole answer."
    assert any(frame.get("snapshot") for frame in room.broadcaster.frames("socket"))


def test_a_stream_that_ends_without_a_reason_broke_off(room: Room) -> None:
    seq = room.say("Hello")

    async def breaks_off(_prompt: Prompt) -> AsyncGenerator[Chunk]:
        yield TextChunk("Half")

    room.answer(ScriptedModel(breaks_off, says("Whole")), seq)

    assert room.replies()[0].data.text == "Whole"


def test_an_answer_without_words_is_asked_for_once_more(room: Room) -> None:
    seq = room.say("Hello")
    model = ScriptedModel(says(), says("Hi."))

    room.answer(model, seq)

    assert room.replies()[0].data.text == "Hi."


def test_an_answer_that_stays_empty_is_a_failure(room: Room) -> None:
    seq = room.say("Hello")
    model = ScriptedModel(says(" \n"))

    room.answer(model, seq)

    assert [failure.data.reason for failure in room.failures()] == ["empty"]
    assert len(model.prompts) == 2


def test_a_model_that_hangs_is_cut_off(room: Room) -> None:
    seq = room.say("Hello")
    model = ScriptedModel(hangs(after=["Well"]))

    room.worker(model, pace=replace(FAST, idle=0.3)).answer([delivery(seq)])

    assert [failure.data.reason for failure in room.failures()] == ["timeout"]
    assert len(model.prompts) == 1


def test_a_model_that_never_stops_is_cut_off(room: Room) -> None:
    seq = room.say("Hello")
    model = ScriptedModel(says(*["word "] * 1_000, delay=0.02))

    room.worker(model, pace=replace(FAST, total=0.5)).answer([delivery(seq)])

    assert [failure.data.reason for failure in room.failures()] == ["timeout"]


def test_the_question_that_breaks_every_worker_is_closed(room: Room) -> None:
    seq = room.say("Hello")
    broken = ScriptedModel(fails(RuntimeError("a bug")))

    undone = [room.answer(broken, seq) for _ in range(4)]

    assert [bool(each) for each in undone] == [True, True, True, False]
    assert [failure.data.reason for failure in room.failures()] == ["model_error"]
    assert len(broken.prompts) == 3


def test_a_reply_names_the_event_types_that_clients_know(room: Room) -> None:
    seq = room.say("Hello")
    room.answer(ScriptedModel(says("Hi.")), seq)

    kinds = {type(event) for event in room.events()}

    assert kinds <= {MessageCreated, AgentFailed}
