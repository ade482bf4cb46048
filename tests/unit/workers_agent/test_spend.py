"""What a day's tokens allow, and what replies are counted for."""

import threading
import time
from collections.abc import AsyncGenerator, Callable

import pytest

from commons.records.spend import Cost
from commons.schemas.event import Usage
from workers_agent.model import Chunk, EndChunk, ModelFailedError, Prompt, TextChunk, UsageChunk

from .conftest import CHANNEL, Room, Script, ScriptedModel, delivery, fails, hangs, says

type InBackground = Callable[[Callable[[], object]], threading.Thread]

COSTS_TEN = EndChunk("stop", Usage(model_id="m", input_tokens=7, output_tokens=3))
A_PROMPT = 1_200
"""More tokens than a short question reserves: the prompt's, and 1,024 for the answer."""


def _ask(
    room: Room,
    model: ScriptedModel,
    limited: str = "user_tokens",
    limit: int = 0,
    *,
    user_id: str = "alice",
) -> None:
    worker = room.worker(model, **{limited: limit})  # type: ignore[arg-type]  # both are int
    assert worker.answer([delivery(room.say("Hello", user_id))]) == []


@pytest.mark.parametrize("limited", ["channel_tokens", "user_tokens"])
def test_what_may_not_fit_is_not_asked(room: Room, limited: str) -> None:
    model = ScriptedModel(says("Hi.", finish=COSTS_TEN))

    _ask(room, model, limited, 1_024)

    assert model.prompts == []
    assert [failure.data.reason for failure in room.failures()] == ["budget"]
    assert room.set_aside() == 0


@pytest.mark.parametrize("limited", ["channel_tokens", "user_tokens"])
def test_what_was_set_aside_and_not_used_is_there_again(room: Room, limited: str) -> None:
    model = ScriptedModel(says("Hi.", finish=COSTS_TEN))

    for _ in range(4):
        _ask(room, model, limited, 1_400)

    assert len(room.replies()) == 4
    assert room.set_aside() == room.set_aside("user", "alice") == 40


@pytest.mark.parametrize("limited", ["channel_tokens", "user_tokens"])
def test_fifty_at_once_never_pass_a_limit(room: Room, limited: str) -> None:
    spends_all = EndChunk("length", Usage(model_id="m", input_tokens=176, output_tokens=1_024))
    model = ScriptedModel(says("Hi.", delay=0.05, finish=spends_all))
    seqs = [room.say("Hello") for _ in range(50)]
    worker = room.worker(model, **{limited: 5 * A_PROMPT})  # type: ignore[arg-type]  # all are int

    for start in range(0, 50, 10):
        assert worker.answer([delivery(seq) for seq in seqs[start : start + 10]]) == []

    assert 1 <= len(room.replies()) <= 5
    assert len(room.replies()) + len(room.failures()) == 50
    assert len(model.prompts) == len(room.replies())
    assert room.set_aside() <= 5 * A_PROMPT


def test_a_users_budget_is_nobody_elses(room: Room) -> None:
    room.join("bob")
    spends_all = EndChunk("length", Usage(model_id="m", input_tokens=176, output_tokens=1_024))
    model = ScriptedModel(says("Hi.", finish=spends_all))

    _ask(room, model, "user_tokens", A_PROMPT)
    _ask(room, model, "user_tokens", A_PROMPT, user_id="bob")

    assert len(room.replies()) == 2


def test_a_reply_asked_for_anew_is_paid_by_who_asked(room: Room) -> None:
    room.join("bob")
    _ask(room, ScriptedModel(says("Hi.", finish=COSTS_TEN)))
    seq = room.replies()[0].data.reply_to
    assert seq is not None

    room.generations.regenerate(CHANNEL, "bob", room.replies()[0].seq)
    room.answer(ScriptedModel(says("Hi.", finish=COSTS_TEN)), seq, generation=2)

    assert room.usage("alice").tokens == room.usage("bob").tokens == 10


def test_the_usage_of_replies_is_summed(room: Room) -> None:
    model = ScriptedModel(says("Hi.", finish=COSTS_TEN))

    _ask(room, model)
    _ask(room, model)

    assert room.usage() == Cost(requests=2, input_tokens=14, output_tokens=6)


def test_what_the_provider_does_not_count_is_estimated(room: Room) -> None:
    _ask(room, ScriptedModel(says("Half an answer", finish=EndChunk("length"))))

    usage = room.usage()
    assert usage.requests == 1
    assert usage.input_tokens > 100
    assert usage.output_tokens == 5


def test_what_the_provider_turned_away_costs_nothing(room: Room) -> None:
    refusal = ModelFailedError("model_error", retryable=False, refused=True)

    _ask(room, ScriptedModel(fails(refusal)))

    assert room.usage() == Cost()
    assert room.set_aside() == 0


def test_every_attempt_that_failed_is_counted(room: Room) -> None:
    broken = fails(ModelFailedError("model_error", retryable=True), after=["w " * 30])

    _ask(room, ScriptedModel(broken, broken, broken, says("ok", finish=COSTS_TEN)))

    usage = room.usage()
    assert usage.requests == 4
    assert usage.input_tokens > 3 * 100
    assert usage.output_tokens == 3 * 21 + 3
    assert room.set_aside() == usage.tokens


def test_an_empty_answer_costs_what_the_provider_says(room: Room) -> None:
    _ask(room, ScriptedModel(says(finish=COSTS_TEN)))

    assert [failure.data.reason for failure in room.failures()] == ["empty"]
    assert room.usage() == Cost(requests=2, input_tokens=14, output_tokens=6)


def test_a_prompt_that_was_cancelled_before_its_first_word_is_counted(
    room: Room, in_background: InBackground
) -> None:
    seq = room.say("Hello")
    model = ScriptedModel(hangs())
    worker = room.worker(model)
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while not model.prompts:
        time.sleep(0.01)

    room.generations.cancel(CHANNEL, "alice", seq)
    answering.join()

    assert room.usage().requests == 1
    assert room.usage().input_tokens > 100
    assert room.set_aside() == room.usage().tokens


COUNTED = Usage(model_id="m", input_tokens=5_000, output_tokens=900)


def counts(*words: str, then: Script | None = None) -> Script:
    """A model whose provider counts with every word, and that breaks off or goes on."""

    async def script(prompt: Prompt) -> AsyncGenerator[Chunk]:
        for word in words:
            yield TextChunk(word)
            yield UsageChunk(COUNTED)
        if then is None:
            raise ModelFailedError("model_error", retryable=True)
        async for chunk in then(prompt):
            yield chunk

    return script


def test_an_attempt_that_failed_costs_what_the_provider_had_counted(room: Room) -> None:
    model = ScriptedModel(counts("Half "), says("Whole.", finish=COSTS_TEN))

    _ask(room, model)

    assert room.usage() == Cost(requests=2, input_tokens=5_007, output_tokens=903)


def test_a_reply_that_was_cancelled_costs_what_the_provider_had_counted(
    room: Room, in_background: InBackground
) -> None:
    seq = room.say("Hello")
    worker = room.worker(ScriptedModel(counts("Half ", then=hangs())))
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while not (room.broadcaster.heard or room.row(seq).text):
        time.sleep(0.01)

    room.generations.cancel(CHANNEL, "alice", seq)
    answering.join()

    assert room.usage() == Cost(requests=1, input_tokens=5_000, output_tokens=900)


def test_what_was_written_since_the_last_figure_is_estimated(room: Room) -> None:
    breaks_off = fails(ModelFailedError("model_error", retryable=False), after=["x" * 400])

    _ask(room, ScriptedModel(counts("Half ", then=breaks_off)))

    cost = room.usage()
    assert cost.input_tokens == 5_000
    assert 950 <= cost.output_tokens <= 1_100


def test_a_figure_of_nothing_is_none(room: Room) -> None:
    async def script(_prompt: Prompt) -> AsyncGenerator[Chunk]:
        yield TextChunk("Half ")
        yield UsageChunk(Usage(model_id="m", input_tokens=0, output_tokens=0))
        raise ModelFailedError("model_error", retryable=False)

    _ask(room, ScriptedModel(script))

    cost = room.usage()
    assert cost.input_tokens > 0
    assert cost.output_tokens > 0


def test_a_text_that_is_cut_costs_what_the_provider_had_counted_and_what_came_since(
    room: Room,
) -> None:
    model = ScriptedModel(counts("Half ", then=says("x" * 17_000)))

    _ask(room, model)

    (reply,) = room.replies()
    assert (reply.data.finish_reason, reply.data.usage) == ("length", None)
    cost = room.usage()
    assert cost.input_tokens == 5_000
    assert 900 + 4_000 <= cost.output_tokens <= 900 + 6_000
