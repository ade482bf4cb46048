"""What a day's tokens allow."""

import pytest

from commons import keys
from commons.clock import now
from commons.dal import Table
from commons.schemas.event import Usage
from workers_agent.model import EndChunk, ModelFailedError

from .conftest import CHANNEL, Room, ScriptedModel, delivery, fails, says

COSTS_TEN = EndChunk("stop", Usage(model_id="m", input_tokens=7, output_tokens=3))


def _ask(
    room: Room,
    model: ScriptedModel,
    user_id: str = "alice",
    *,
    channel_tokens: int = 0,
    user_tokens: int = 0,
) -> None:
    worker = room.worker(model, channel_tokens=channel_tokens, user_tokens=user_tokens)
    assert worker.answer([delivery(room.say("Hello", user_id))]) == []


@pytest.mark.parametrize(("channel_tokens", "user_tokens"), [(10, 0), (0, 10)])
def test_past_the_budget_the_model_is_not_asked(
    room: Room, channel_tokens: int, user_tokens: int
) -> None:
    model = ScriptedModel(says("Hi.", finish=COSTS_TEN))

    _ask(room, model, channel_tokens=channel_tokens, user_tokens=user_tokens)
    _ask(room, model, channel_tokens=channel_tokens, user_tokens=user_tokens)

    assert len(model.prompts) == 1
    assert [failure.data.reason for failure in room.failures()] == ["budget"]


@pytest.mark.parametrize(("channel_tokens", "user_tokens"), [(11, 0), (0, 11)])
def test_within_the_budget_the_model_is_asked(
    room: Room, channel_tokens: int, user_tokens: int
) -> None:
    model = ScriptedModel(says("Hi.", finish=COSTS_TEN))

    _ask(room, model, channel_tokens=channel_tokens, user_tokens=user_tokens)
    _ask(room, model, channel_tokens=channel_tokens, user_tokens=user_tokens)

    assert len(room.replies()) == 2


def test_a_users_budget_is_nobody_elses(room: Room) -> None:
    room.join("bob")
    model = ScriptedModel(says("Hi.", finish=COSTS_TEN))

    _ask(room, model, "alice", user_tokens=10)
    _ask(room, model, "bob", user_tokens=10)

    assert len(room.replies()) == 2


def test_a_reply_asked_for_anew_is_paid_by_who_asked(room: Room) -> None:
    room.join("bob")
    _ask(room, ScriptedModel(says("Hi.", finish=COSTS_TEN)), "alice")
    seq = room.replies()[0].data.reply_to
    assert seq is not None

    room.generations.regenerate(CHANNEL, "bob", room.replies()[0].seq)
    room.answer(ScriptedModel(says("Hi.", finish=COSTS_TEN)), seq, generation=2)

    day = now().date().isoformat()
    spent = {
        user: room.repository.get(Table.CHANNELS, keys.budget_key("user", user, day))["tokens"]
        for user in ("alice", "bob")
    }
    assert spent == {"alice": 10, "bob": 10}


def test_without_a_limit_everything_is_answered_and_counted(room: Room) -> None:
    model = ScriptedModel(says("Hi.", finish=COSTS_TEN))

    _ask(room, model)
    _ask(room, model)

    day = now().date().isoformat()
    row = room.repository.get(Table.CHANNELS, keys.budget_key("channel", CHANNEL, day))
    assert row["tokens"] == 20


def test_what_the_provider_does_not_count_is_estimated(room: Room) -> None:
    _ask(room, ScriptedModel(says("Half an answer", finish=EndChunk("length"))))

    day = now().date().isoformat()
    row = room.repository.get(Table.CHANNELS, keys.budget_key("channel", CHANNEL, day))
    assert isinstance(row["tokens"], int)
    assert row["tokens"] > 5


def test_a_refusal_costs_nothing(room: Room) -> None:
    _ask(room, ScriptedModel(fails(ModelFailedError("model_error", retryable=False))))

    day = now().date().isoformat()
    assert room.repository.find(Table.CHANNELS, keys.budget_key("channel", CHANNEL, day)) is None
