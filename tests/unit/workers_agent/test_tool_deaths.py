"""Workers die anywhere, people decide anything: each approved call is made once or unknown."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

import pytest
from tests.doubles.mortal import (
    Life,
    MortalModel,
    MortalRepository,
    MortalTools,
    WorkerDiedError,
)
from tests.doubles.repository import InMemoryRepository
from tests.doubles.tools import CLOCK, NOTES, VALUES, CountingTools, offer
from tests.support.thoroughness import SEQUENCES

from commons.clock import epoch_milliseconds
from commons.errors import ChatError
from commons.records.tool import ToolCallRecord
from commons.schemas.caller import Caller
from commons.schemas.event import (
    AgentFailed,
    MessageCreated,
    ToolDecided,
    ToolFinished,
    ToolRequested,
)
from commons.services.tool_decisions import ToolDecisionsService
from workers_agent.composition import build_batch_service
from workers_agent.model import Chunk, EndChunk, Prompt, TextChunk, ToolCallChunk
from workers_agent.schemas import ToolAnswer
from workers_agent.settings import AgentWorkerSettings
from workers_agent.tool_function import CallUnknownError

from .conftest import CHANNEL, FAST, TEN_TOKENS, Room, delivery

RUNS: Final = SEQUENCES
MOST_DEATHS: Final = 5
MOST_TAKEN_OVER: Final = 2
MOST_ROUNDS: Final = 40
A_DAY: Final = 25 * 3_600_000

PACE: Final = replace(FAST, lease=0.0, look=0.005, heartbeat=0.01, last_deltas=0.02, patience=0.0)
"""A claim whose worker died is free at once."""

NAMES: Final = ("clock_now", "notes_add", "notes_add", "values_set", "notes_remove")


class WhimsicalModel:
    """Asks for any calls, says anything, and says something else when it is asked again."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Chunk]:
        yield TextChunk(f"step {len(prompt.steps)} ")
        if self._chance.random() < 0.25:
            yield TextChunk("done")
            yield EndChunk("stop", TEN_TOKENS)
            return
        for position in range(self._chance.randint(1, 3)):
            arguments = json.dumps({"text": self._chance.randint(0, 9)})
            yield ToolCallChunk(f"p{position}", self._chance.choice(NAMES), arguments)
        yield EndChunk("tool_calls", TEN_TOKENS)

    async def aclose(self) -> None:
        pass


class Run:
    """One reply, from its question to its end."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - a seed is to be repeatable
        self.storage = InMemoryRepository()
        self.room = Room(self.storage)
        for server, tool in (("clock", CLOCK), ("notes", NOTES), ("values", VALUES)):
            offer(self.storage, server, [tool])
        self.room.join("bob")
        self.room.configure(mode="always", tools=["clock.*", "notes.*", "values.*"])
        self.tools = CountingTools()
        for name in ("clock.now", "notes.add", "values.set"):
            self.tools.behaviours[name] = self._answer
        self._model = WhimsicalModel(self.chance)
        self.seq = self.room.say("Do something.")
        self.deaths = 0
        self.taken_over = 0

    async def _answer(self, _call: ToolCallRecord) -> ToolAnswer:
        """Most calls are answered; the answer may be lost, or come when another worker is at it."""
        luck = self.chance.random()
        if luck < 0.1:
            raise CallUnknownError
        if luck < 0.3 and self.taken_over < MOST_TAKEN_OVER:
            self.taken_over += 1
            await asyncio.to_thread(self.work)
        return ToolAnswer(outcome="ok", text="noted")

    def play(self) -> None:
        for _ in range(MOST_ROUNDS):
            self.work()
            if self.room.has_ended(self.seq):
                return
            for call in self.room.calls():
                self.decide(call)
            if self.chance.random() < 0.05:
                self.room.generations.cancel(CHANNEL, "alice", self.seq)
        raise AssertionError("the reply does not end")

    def work(self) -> None:
        """A worker takes the message; it may die at any moment of that."""
        mortal = self.deaths < MOST_DEATHS and self.chance.random() < 0.6
        life = Life(self.chance.randint(1, 60) if mortal else None)
        worker = build_batch_service(
            AgentWorkerSettings(
                agent_queue_url="unused",
                agent_crowded_queue_url="unused",
                websocket_callback_url="unused",
                allowed_models="default-model",
                channel_tokens_per_day=1_000_000,
            ),
            MortalRepository(self.storage, life),
            pace=PACE,
            model=MortalModel(self._model, life),
            broadcaster=self.room.broadcaster,
            audience=self.room.connections,
            queue=self.room.queue,
            tools=MortalTools(self.tools, life),
        )
        with suppress(WorkerDiedError):
            worker.answer([delivery(self.seq)])
        self.deaths += life.is_over
        worker.close()

    def decide(self, call: ToolCallRecord) -> None:
        """Somebody approves or denies, nobody decides for too long, or not yet."""
        now = epoch_milliseconds
        late = ToolDecisionsService(self.storage, clock=lambda: now() + A_DAY)
        decisions = ToolDecisionsService(self.storage, clock=now)
        by = Caller(user_id=self.chance.choice(["alice", "bob"]), name=None, expires_at=0)
        acts: list[Callable[[], object]] = [
            lambda: decisions.decide(CHANNEL, by, call.call_id, "approve"),
            lambda: decisions.decide(CHANNEL, by, call.call_id, "approve"),
            lambda: decisions.decide(CHANNEL, by, call.call_id, "deny"),
            lambda: late.expire(CHANNEL, call.call_id),
            lambda: None,
        ]
        with suppress(ChatError):
            self.chance.choice(acts)()


def _check(run: Run) -> None:
    room = run.room
    events = room.events()
    ends = [
        event
        for event in events
        if isinstance(event, AgentFailed)
        or (isinstance(event, MessageCreated) and event.sender.kind == "agent")
    ]
    assert len(ends) == 1
    assert ends[0] is events[-1]
    asked = {event.data.call_id: event for event in events if isinstance(event, ToolRequested)}
    decided = {
        event.data.call_id: event.data.decision
        for event in events
        if isinstance(event, ToolDecided)
    }
    finished = {
        event.data.call_id: event.data.outcome
        for event in events
        if isinstance(event, ToolFinished)
    }
    counted = Counter(event.type for event in events)
    assert counted["tool.requested"] == len(asked)
    assert counted["tool.decided"] == len(decided)
    assert counted["tool.finished"] == len(finished)
    counts = run.tools.counts
    for call in room.calls():
        made = counts[call.call_id]
        assert call.is_over
        is_approved = decided.get(call.call_id) == "approved" or (
            call.approval == "none" and call.is_told
        )
        assert is_approved or made == 0
        assert (call.call_id in finished) == is_approved
        if not call.is_repeatable:
            assert made <= 1
        if finished.get(call.call_id) == "ok":
            assert made >= 1
        if finished.get(call.call_id) == "error":
            assert call.is_repeatable or made == 0
    assert counts.keys() <= asked.keys()
    for call in run.tools.made:
        assert asked[call.call_id].data.arguments == call.parsed_arguments
    assert room.set_aside() == room.usage().tokens


@pytest.mark.parametrize("seed", range(RUNS))
def test_every_approved_call_is_made_once_or_unknown_and_no_other_ever(seed: int) -> None:
    run = Run(seed)

    run.play()

    _check(run)
    run.room.close()


def test_the_runs_meet_whatever_can_become_of_a_call() -> None:
    met: Counter[str] = Counter()
    for seed in range(RUNS, RUNS + 60):
        run = Run(seed)
        run.play()
        met["death"] += run.deaths
        met["taken over"] += run.taken_over
        for event in run.room.events():
            if isinstance(event, ToolDecided):
                met[event.data.decision] += 1
            if isinstance(event, ToolFinished):
                met[event.data.outcome] += 1
        run.room.close()

    assert met.keys() == {
        *("death", "taken over"),
        *("approved", "denied", "expired", "cancelled"),
        *("ok", "error", "unknown"),
    }
    assert min(met.values()) >= 2
