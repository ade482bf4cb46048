"""A worker dies at one known moment of a reply that calls tools; the next goes on from there."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.doubles.mortal import Life, MortalTools, WorkerDiedError
from tests.doubles.repository import InMemoryRepository
from tests.doubles.tools import CLOCK, NOTES, VALUES, CountingTools, offer

from commons.schemas.event import Event, ToolFinished, ToolRequested
from commons.services.event_log import EventLogService
from workers_agent.services.transcript import UNKNOWN

from .conftest import FAST, AskedCall, Room, ScriptedModel, asks, delivery, says

FREE_AT_ONCE = replace(FAST, lease=0.0, look=10.0)


@pytest.fixture
def room(repository: InMemoryRepository) -> Iterator[Room]:
    room = Room(repository)
    for server, tool in (("clock", CLOCK), ("notes", NOTES), ("values", VALUES)):
        offer(repository, server, [tool])
    room.configure(mode="always", tools=["clock.*", "notes.*", "values.*"])
    yield room
    room.close()


def _outcomes(room: Room) -> list[str]:
    return [event.data.outcome for event in room.events() if isinstance(event, ToolFinished)]


@pytest.mark.parametrize(
    ("asked", "times", "outcome"),
    [
        (("clock_now", {}), 2, "ok"),
        (("values_set", {"to": 1}), 2, "ok"),
        (("notes_add", {"text": "milk"}), 1, "unknown"),
    ],
)
def test_a_call_that_a_worker_died_with_is_repeated_where_that_is_safe_and_nowhere_else(
    room: Room, asked: AskedCall, times: int, outcome: str
) -> None:
    tools = CountingTools()
    model = ScriptedModel(asks(asked, text="I do it."), says("Done."))
    seq = room.say("Do it.")
    waiting = room.worker(model, pace=FREE_AT_ONCE, tools=tools)
    if asked[0] != "clock_now":
        waiting.answer([delivery(seq)])
        room.decide("approve")
    dying = room.worker(model, pace=FREE_AT_ONCE, tools=MortalTools(tools, Life(2)))
    with suppress(WorkerDiedError):
        dying.answer([delivery(seq)])
    assert list(tools.counts.values()) == [1]
    assert _outcomes(room) == []

    waiting.answer([delivery(seq)])

    assert list(tools.counts.values()) == [times]
    assert _outcomes(room) == [outcome]
    assert [reply.data.text for reply in room.replies()] == ["I do it.\n\nDone."]
    assert len(model.prompts) == 2
    told = model.prompts[1].steps[0].calls[0].result
    assert (told == UNKNOWN) == (outcome == "unknown")


def test_a_step_that_was_laid_down_and_not_told_of_is_told_and_not_asked_for_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = CountingTools()
    model = ScriptedModel(asks(("clock_now", {}), ("clock_now", {})), says("Noon."))
    seq = room.say("What time is it?")
    worker = room.worker(model, pace=FREE_AT_ONCE, tools=tools)
    append = EventLogService.append

    def dies(self: EventLogService, *args: object, **more: object) -> Event:
        raise WorkerDiedError

    monkeypatch.setattr(EventLogService, "append", dies)
    with suppress(WorkerDiedError):
        worker.answer([delivery(seq)])
    monkeypatch.setattr(EventLogService, "append", append)
    assert room.row(seq).step_count == 1

    room.worker(model, pace=FREE_AT_ONCE, tools=tools).answer([delivery(seq)])

    assert len([event for event in room.events() if isinstance(event, ToolRequested)]) == 2
    assert _outcomes(room) == ["ok", "ok"]
    assert len(model.prompts) == 2


def test_what_is_asked_and_called_is_logged_by_the_names_that_others_know(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    seq = room.say("What time is it?")
    model = ScriptedModel(asks(("clock_now", {})), says("Noon."))

    room.worker(model, tools=CountingTools()).answer([delivery(seq)])

    lines = [vars(record) for record in caplog.records]
    asked = [line for line in lines if line.get("gen_ai.operation.name") == "chat"]
    assert [line["gen_ai.response.finish_reasons"] for line in asked] == [["tool_calls"], ["stop"]]
    assert {line["gen_ai.usage.input_tokens"] for line in asked} == {7}
    (called,) = [line for line in lines if line.get("gen_ai.operation.name") == "execute_tool"]
    assert called["gen_ai.tool.name"] == "clock.now"
    assert called["gen_ai.tool.call.id"] == room.calls()[0].call_id
