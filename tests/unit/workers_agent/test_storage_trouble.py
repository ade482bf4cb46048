"""Storage that fails while a reply is written: no model is asked twice for what it has said."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from commons.dal import PutWrite, Table, Write
from commons.dynamodb.exceptions import StorageBusyError, StorageUnreachableError
from commons.records.connection import Removals, Subscription
from commons.records.generation import FinishedText
from commons.services.spend import SpendService
from workers_agent.services.claims import ClaimsService

from .conftest import FAST, Room, ScriptedModel, delivery, says

type InBackground = Callable[[Callable[[], object]], threading.Thread]

IMPATIENT = replace(FAST, patience=0.0)


@dataclass
class ClosedTable:
    """An audience that cannot be read from some call on."""

    room: Room
    fails_from: int = 0
    calls: int = 0

    def subscriptions(self, channel_id: str) -> list[Subscription]:
        self.calls += 1
        if self.calls > self.fails_from:
            raise StorageUnreachableError("no answer")
        return self.room.connections.subscriptions(channel_id)

    def removed_since(self, channel_id: str, began_at: int) -> Removals | None:
        raise StorageUnreachableError(f"no answer about {channel_id} since {began_at}")

    def forget(self, connection_id: str) -> None:
        raise AssertionError(f"nobody is gone: {connection_id}")


@pytest.mark.parametrize("fails_from", [0, 2])
def test_an_audience_that_cannot_be_read_costs_no_reply(room: Room, fails_from: int) -> None:
    room.listen("socket")
    seq = room.say("Hello")
    model = ScriptedModel(says("one ", "two ", "three", delay=0.05))
    worker = room.worker(model, audience=ClosedTable(room, fails_from))

    assert worker.answer([delivery(seq)]) == []

    assert [reply.data.text for reply in room.replies()] == ["one two three"]
    assert len(model.prompts) == 1


def test_whoever_left_hears_nothing_where_the_audience_cannot_be_read(
    room: Room, in_background: InBackground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers_agent.services.deltas.AUDIENCE_SECONDS", 0.5)
    room.listen("socket")
    seq = room.say("Hello")
    audience = ClosedTable(room, fails_from=10**9)
    worker = room.worker(ScriptedModel(says(*["w "] * 60, delay=0.02)), audience=audience)
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while not room.broadcaster.frames("socket"):
        time.sleep(0.01)

    audience.fails_from = 0
    time.sleep(0.2)
    heard = len(room.broadcaster.frames("socket"))
    answering.join()

    assert len(room.broadcaster.frames("socket")) == heard
    assert len(room.replies()) == 1


class _FailingEnds:
    """A repository's `transact` that fails while it is told to, for the event of a reply."""

    def __init__(self, room: Room, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self._transact = room.repository.transact
        self._left = times
        monkeypatch.setattr(room.repository, "transact", self)

    def __call__(self, writes: Sequence[Write]) -> None:
        is_end = any(
            isinstance(write, PutWrite) and write.item.get("sender_kind") == "agent"
            for write in writes
        )
        if is_end and self._left > 0:
            self._left -= 1
            raise StorageBusyError("throttled")
        self._transact(writes)


def test_a_finished_text_waits_for_storage(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers_agent.services.patience.FIRST_PAUSE_SECONDS", 0.01)
    seq = room.say("Hello")
    _FailingEnds(room, monkeypatch, times=3)
    model = ScriptedModel(says("Hi."))

    assert room.answer(model, seq) == []

    assert [reply.data.text for reply in room.replies()] == ["Hi."]
    assert len(model.prompts) == 1


def test_a_finished_text_is_appended_by_the_next_worker_and_asked_for_by_nobody(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = room.say("Hello")
    _FailingEnds(room, monkeypatch, times=1)
    model = ScriptedModel(says("Hi."))
    worker = room.worker(model, pace=IMPATIENT)

    assert worker.answer([delivery(seq)]) == []
    ((again, _delay),) = room.queue.returned
    assert again.tries == 1
    assert worker.answer([delivery(seq)]) == []

    assert [reply.data.text for reply in room.replies()] == ["Hi."]
    assert len(model.prompts) == 1
    assert room.usage().tokens == room.set_aside() == 10


def test_a_text_that_a_dead_worker_had_finished_is_appended_as_it_is(room: Room) -> None:
    seq = room.say("Hello")
    claims = ClaimsService(room.repository, seconds=0.0, spend=SpendService(room.repository))
    request = delivery(seq).request
    assert request is not None
    claim = claims.claim(request)
    assert claim is not None
    claims.lay_down(claim, text="Finished.", finished=FinishedText(finish_reason="length"))
    model = ScriptedModel(says("Another."))

    room.answer(model, seq)

    (reply,) = room.replies()
    assert (reply.data.text, reply.data.finish_reason) == ("Finished.", "length")
    assert model.prompts == []


def test_storage_that_fails_before_a_model_is_asked_is_no_fault_of_the_question(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = room.say("Hello")
    model = ScriptedModel(says("Hi."))
    find = room.repository.find
    worker = room.worker(model, pace=IMPATIENT)

    with monkeypatch.context() as outage:
        outage.setattr(room.repository, "find", _unreachable)
        for _ in range(6):
            assert worker.answer([delivery(seq)]) == []
    assert room.repository.find == find

    assert worker.answer([delivery(seq)]) == []
    assert [reply.data.text for reply in room.replies()] == ["Hi."]


def _unreachable(*_args: object, **_kwargs: object) -> None:
    raise StorageUnreachableError("no answer")


def test_it_is_put_back_later_and_later(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    seq = room.say("Hello")
    monkeypatch.setattr(room.repository, "find", _unreachable)
    worker = room.worker(ScriptedModel(says("Hi.")), pace=IMPATIENT)
    deliveries = [delivery(seq)]

    for _ in range(8):
        worker.answer(deliveries)
        request, _ = room.queue.returned[-1]
        deliveries = [replace(deliveries[0], request=request)]

    assert [delay for _, delay in room.queue.returned] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_question_an_hour_old_is_worth_no_answer(room: Room) -> None:
    seq = room.say("Hello")
    row = room.row(seq)
    stored = room.repository.get(Table.CHANNELS, row.key)
    room.repository.put(Table.CHANNELS, {**stored, "asked_at": row.asked_at - 3_600_001})
    model = ScriptedModel(says("Hi."))

    room.answer(model, seq)

    assert [failure.data.reason for failure in room.failures()] == ["timeout"]
    assert model.prompts == []
