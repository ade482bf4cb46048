"""A reply with storage failing at each of its calls in turn: one end, and nobody is bothered."""

from collections import Counter
from dataclasses import replace

import pytest
from tests.doubles.faults import FailingRepository, Failure
from tests.doubles.repository import InMemoryRepository
from tests.doubles.tools import CLOCK, NOTES, CountingTools, offer

from commons.dynamodb.exceptions import (
    StorageBusyError,
    StorageUnavailableError,
    StorageUnreachableError,
)
from workers_agent.composition import build_batch_service
from workers_agent.model import ModelFailedError
from workers_agent.settings import AgentWorkerSettings
from workers_agent.tool_function import NoTools

from .conftest import FAST, Room, Script, ScriptedModel, asks, delivery, fails, says
from .test_spend import COSTS_TEN

MOST_CALLS = 40
"""More than a short reply makes."""

MOST_CALLS_WITH_TOOLS = 90
"""More than a reply with two calls makes."""

IMPATIENT = replace(FAST, patience=0.0, lease=0.0)
"""A claim whose worker lost it is free at once."""


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("kind", [StorageBusyError, StorageUnreachableError])
def test_one_end_whichever_call_of_storage_fails(
    monkeypatch: pytest.MonkeyPatch, kind: type[StorageUnavailableError], committed: bool
) -> None:
    monkeypatch.setattr("workers_agent.services.patience.FIRST_PAUSE_SECONDS", 0.0)
    failures = 0
    for at_call in range(1, MOST_CALLS):
        storage = InMemoryRepository()
        room = Room(storage)
        room.listen("socket")
        seq = room.say("Hello")
        failing = FailingRepository(storage)
        model = ScriptedModel(says("Hi."))
        worker = build_batch_service(
            AgentWorkerSettings(
                agent_queue_url="unused",
                agent_crowded_queue_url="unused",
                websocket_callback_url="unused",
                allowed_models="default-model",
                channel_tokens_per_day=10_000,
            ),
            failing,
            pace=IMPATIENT,
            model=model,
            broadcaster=room.broadcaster,
            audience=room.connections,
            queue=room.queue,
            tools=NoTools(),
        )
        failing.arm(Failure(at_call, kind, committed=committed))

        first = worker.answer([delivery(seq)])
        failures += failing.has_failed
        again = worker.answer([delivery(seq)])

        worker.close()
        room.close()
        assert first == again == [], f"call {at_call} bothers somebody: {failing.calls}"
        (reply,) = room.replies()
        assert reply.data.text == "Hi."
        assert room.generations.list_open(reply.channel_id) == []
        assert room.set_aside() == room.usage().tokens
        assert len(model.prompts) <= 2

    assert 10 <= failures < MOST_CALLS - 1


def test_no_attempt_is_counted_twice_whichever_answer_of_storage_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers_agent.services.patience.FIRST_PAUSE_SECONDS", 0.0)
    broken = fails(ModelFailedError("model_error", retryable=True), after=["w " * 30])
    failures = 0
    for at_call in range(1, MOST_CALLS):
        storage = InMemoryRepository()
        room = Room(storage)
        seq = room.say("Hello")
        failing = FailingRepository(storage)
        room.repository = failing  # type: ignore[assignment]  # what the worker calls
        model = ScriptedModel(broken, says("Hi.", finish=COSTS_TEN))
        worker = room.worker(model, pace=replace(IMPATIENT, look=10.0))
        failing.arm(Failure(at_call, StorageUnreachableError, committed=True))

        worker.answer([delivery(seq)])
        failures += failing.has_failed
        worker.answer([delivery(seq)])

        room.repository = storage
        room.close()
        assert len(room.replies()) == 1
        assert room.usage().requests == len(model.prompts), f"call {at_call}: {failing.calls}"
        assert room.set_aside() == room.usage().tokens

    assert 8 <= failures < MOST_CALLS - 1


def _by_steps(*scripts: Script) -> Script:
    """Follows the script of the step that the reply has come to, however often it is asked."""
    return lambda prompt: scripts[len(prompt.steps)](prompt)


@pytest.mark.parametrize("committed", [False, True])
def test_an_approved_call_is_made_once_whichever_call_of_storage_fails(
    monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    monkeypatch.setattr("workers_agent.services.patience.FIRST_PAUSE_SECONDS", 0.0)
    failures = 0
    for at_call in range(1, MOST_CALLS_WITH_TOOLS):
        storage = InMemoryRepository()
        room = Room(storage)
        offer(storage, "clock", [CLOCK])
        offer(storage, "notes", [NOTES])
        room.configure(mode="always", tools=["clock.*", "notes.*"])
        seq = room.say("What time is it? Note it.")
        failing = FailingRepository(storage)
        room.repository = failing  # type: ignore[assignment]  # what the worker calls
        model = ScriptedModel(_by_steps(asks(("clock_now", {}), ("notes_add", {})), says("Done.")))
        tools = CountingTools()
        pace = replace(IMPATIENT, look=10.0)
        worker = room.worker(model, pace=pace, tools=tools, channel_tokens=100_000)
        failing.arm(Failure(at_call, StorageUnreachableError, committed=committed))

        for _ in range(3):
            assert worker.answer([delivery(seq)]) == []
        calls_before = len(failing.calls)
        room.repository = storage
        room.decide("approve", call=1)
        for _ in range(3):
            assert worker.answer([delivery(seq)]) == []

        failures += failing.has_failed
        room.close()
        assert calls_before < MOST_CALLS_WITH_TOOLS
        (reply,) = room.replies()
        assert reply.data.text == "Done."
        noted = [call for call in tools.made if call.tool == "notes.add"]
        assert len(noted) <= 1, f"call {at_call}: {failing.calls}"
        counted = Counter(event.type for event in room.events())
        assert counted["tool.requested"] == counted["tool.finished"] == 2
        assert room.set_aside() == room.usage().tokens

    assert 30 <= failures < MOST_CALLS_WITH_TOOLS - 1
