"""Calls that are under way while a reply ends: none of them changes what it says or costs."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import pytest

from commons import keys
from commons.dal import PutWrite, Query, Table, Update, UpdateWrite, Write
from commons.dynamodb.exceptions import StorageBusyError
from commons.records.generation import FinishedText
from commons.records.spend import NO_COST, Cost, UsageRecord
from commons.services.generation_endings import GenerationLostError
from commons.services.spend import SpendService
from workers_agent.model import ModelFailedError
from workers_agent.services.claims import ClaimsService

from .conftest import CHANNEL, FAST, Room, ScriptedModel, delivery, fails, says
from .test_spend import COSTS_TEN

type InBackground = Callable[[Callable[[], object]], threading.Thread]


def _claims(room: Room) -> ClaimsService:
    return ClaimsService(room.repository, seconds=0.2, spend=SpendService(room.repository))


class _SlowReservations:
    """Holds back each reservation from the given one on, until it is told to go on."""

    def __init__(
        self, room: Room, monkeypatch: pytest.MonkeyPatch, *, first: int, then: bool
    ) -> None:
        self._transact = room.repository.transact
        self._first = first
        self._then = then
        self.seen = 0
        self.begun = threading.Event()
        self.go_on = threading.Event()
        monkeypatch.setattr(room.repository, "transact", self)

    def __call__(self, writes: Sequence[Write]) -> None:
        reserves = any(
            isinstance(write, UpdateWrite) and "reservation" in write.update.set for write in writes
        )
        self.seen += reserves
        if not reserves or self.seen < self._first:
            self._transact(writes)
            return
        if self._then:
            self._transact(writes)
        self.begun.set()
        assert self.go_on.wait(10)
        if not self._then:
            self._transact(writes)


@pytest.mark.parametrize(
    ("committed", "attempt", "stopped_by"),
    list(product([False, True], [1, 2], ["cancel", "deletion"])),
)
def test_a_reservation_under_way_when_the_reply_is_stopped_is_settled(
    room: Room,
    monkeypatch: pytest.MonkeyPatch,
    in_background: InBackground,
    *,
    committed: bool,
    attempt: int,
    stopped_by: str,
) -> None:
    slow = _SlowReservations(room, monkeypatch, first=attempt, then=committed)
    broken = fails(ModelFailedError("model_error", retryable=True), after=["w " * 30])
    model = ScriptedModel(broken, says("never asked"))
    seq = room.say("Hello")
    worker = room.worker(model)
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    assert slow.begun.wait(10)

    if stopped_by == "cancel":
        room.generations.cancel(CHANNEL, "alice", seq)
    else:
        _close(room)
    time.sleep(0.1)
    slow.go_on.set()
    answering.join()

    assert room.usage().requests == attempt - 1
    assert room.set_aside() == room.set_aside("user", "alice") == room.usage().tokens
    assert len(model.prompts) == attempt - 1


def _close(room: Room) -> None:
    room.repository.update(Table.CHANNELS, keys.channel_key(CHANNEL), Update(set={"deleted": True}))


def test_a_heartbeat_that_arrives_late_leaves_a_finished_text_alone(room: Room) -> None:
    claims = _claims(room)
    seq = room.say("Hello")
    request = delivery(seq).request
    assert request is not None
    claim = claims.claim(request)
    assert claim is not None
    claims.lay_down(claim, text="The whole text.", finished=FinishedText(finish_reason="stop"))

    with pytest.raises(GenerationLostError):
        claims.beat(claim, text="The wh", next_index=3)
    time.sleep(0.25)
    room.answer(ScriptedModel(), seq)

    assert [reply.data.text for reply in room.replies()] == ["The whole text."]


def _left_finished(room: Room, monkeypatch: pytest.MonkeyPatch) -> int:
    """A question whose finished reply could not be appended, given back."""
    seq = room.say("Hello")
    transact = room.repository.transact

    def fails_to_end(writes: Sequence[Write]) -> None:
        if any(
            isinstance(write, PutWrite) and write.item.get("type") == "message.created"
            for write in writes
        ):
            raise StorageBusyError("full")
        transact(writes)

    with monkeypatch.context() as patch:
        patch.setattr(room.repository, "transact", fails_to_end)
        model = ScriptedModel(says("Hi there.", finish=COSTS_TEN))
        worker = room.worker(model, pace=replace(FAST, patience=0.0))
        worker.answer([delivery(seq)])
    assert room.row(seq).finished is not None
    assert room.row(seq).status == "queued"
    return seq


def test_a_finished_reply_that_is_cancelled_in_the_queue_is_paid(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = _left_finished(room, monkeypatch)

    room.generations.cancel(CHANNEL, "alice", seq)

    assert room.replies()[0].data.finish_reason == "cancelled"
    assert room.usage() == Cost(requests=1, input_tokens=7, output_tokens=3)
    assert room.set_aside() == 10


def test_a_lost_attempt_is_counted_for_the_model_that_was_asked(room: Room) -> None:
    _die_while_writing(room, seq := room.say("Hello"), "default-model")
    room.configure(model_id="another")

    room.answer(ScriptedModel(says("ok", finish=COSTS_TEN)), seq)

    query = Query(table=Table.CHANNELS, partition=keys.usage_partition(CHANNEL))
    rows = map(UsageRecord.model_validate, room.repository.iterate(query))
    assert {row.model_id: row.requests for row in rows} == {"default-model": 1, "another": 1}
    assert room.set_aside() == room.usage().tokens


def _die_while_writing(room: Room, seq: int, model_id: str) -> None:
    claims, request = _claims(room), delivery(seq).request
    assert request is not None
    claim = claims.claim(request)
    assert claim is not None
    spend = SpendService(room.repository)
    reservation = spend.reservation("alice", model_id, input_tokens=100, max_tokens=1_024)
    claims.reserve(claim, reservation, old=None, cost=NO_COST)
    time.sleep(0.25)
