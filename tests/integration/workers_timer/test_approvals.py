"""A decision that nobody makes is made by the clock; what a deletion left is emptied."""

import pytest
from tests.doubles.acting_room import CHANNEL, Room
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.clock import epoch_seconds
from commons.dal import Query, Table, Update
from commons.records.timer import TimerRecord
from commons.records.tool import ToolCallRecord
from commons.schemas.generation import GenerationRequest
from commons.services.event_log import EventLogService
from workers_timer.composition import build_timers
from workers_timer.settings import TimerSettings


class Queue:
    def ask(self, request: GenerationRequest, *, is_crowded: bool) -> None:
        pass


@pytest.fixture
def room(repository: InMemoryRepository) -> Room:
    return Room(repository)


def timers_of(room: Room, kind: str) -> list[TimerRecord]:
    rows = [
        TimerRecord.model_validate(row)
        for shard in range(keys.TIMER_SHARDS)
        for row in room.repository.iterate(
            Query(table=Table.CHANNELS, partition=keys.timer_partition(shard))
        )
    ]
    return [timer for timer in rows if timer.kind == kind]


def make_due(room: Room, kind: str) -> None:
    for timer in timers_of(room, kind):
        due = timer.model_copy(update={"due": 1})
        room.repository.transact([timer.removal(), due.write()])


def outwait(room: Room, call: ToolCallRecord) -> None:
    room.repository.update(Table.CHANNELS, call.key, Update(set={"expires_at": 1}))


def run(room: Room) -> None:
    build_timers(
        TimerSettings(
            websocket_callback_url="unused",
            agent_queue_url="unused",
            agent_crowded_queue_url="unused",
            maximum_concurrency=20,
        ),
        repository=room.repository,
        broadcaster=InMemoryBroadcaster(),
        queue=Queue(),
    ).run()


def test_each_call_that_waits_has_a_timer_at_the_second_of_its_expiry(room: Room) -> None:
    (call,) = room.ask()
    room.ask("none", tool="clock.now")

    (timer,) = timers_of(room, "approval.expire")

    assert timer.subject == f"{CHANNEL}#{call.call_id}"
    assert (timer.due - 1) * 1_000 < call.expires_at <= timer.due * 1_000


def test_a_call_that_nobody_decided_expires_by_itself(room: Room) -> None:
    (call,) = room.ask()
    room.wait()
    outwait(room, call)
    make_due(room, "approval.expire")

    run(room)
    run(room)

    assert room.told() == ["tool.requested", "tool.decided expired"]
    assert room.events()[-1].sender.id == "#system"
    assert room.call(call).decided_by is None
    assert timers_of(room, "approval.expire") == []


def test_a_call_that_was_decided_does_not_expire(room: Room) -> None:
    (call,) = room.ask()
    room.decide("alice", call)
    outwait(room, call)
    make_due(room, "approval.expire")

    run(room)

    assert room.told() == ["tool.requested", "tool.decided approved"]


def test_a_timer_that_comes_early_expires_nothing(room: Room) -> None:
    (call,) = room.ask()
    room.repository.update(
        Table.CHANNELS, call.key, Update(set={"expires_at": (epoch_seconds() + 60) * 1_000})
    )
    make_due(room, "approval.expire")

    run(room)

    assert room.told() == ["tool.requested"]


def test_a_call_nobody_was_told_of_expires_without_an_event_and_is_never_told_of(
    room: Room,
) -> None:
    (call,) = room.ask()
    room.untell(call)
    outwait(room, call)
    make_due(room, "approval.expire")

    run(room)
    room.calls.announce(room.row, 0)

    assert room.call(call).status == "expired"
    assert room.told() == ["tool.requested"]


def test_nothing_expires_in_a_channel_that_was_deleted(room: Room) -> None:
    (call,) = room.ask()
    outwait(room, call)
    room.delete_channel()
    make_due(room, "approval.expire")

    run(room)

    assert timers_of(room, "approval.expire") == []
    assert room.call(call).status == "expired"
    assert EventLogService(room.repository).read(CHANNEL, after=0, limit=9).items[-1].type == (
        "channel.deleted"
    )


@pytest.mark.parametrize("generation", ["", "1"])
def test_what_a_deletion_left_is_emptied_within_a_minute_or_two(
    room: Room, generation: str
) -> None:
    (call,) = room.ask()
    timer = TimerRecord.of("calls.empty", f"{CHANNEL}#1#{generation}", due=1)
    room.repository.transact([timer.write()])

    run(room)

    assert room.call(call).arguments == "{}"
    assert room.events()[1].to_wire()["data"]["arguments"] == {}
    assert timers_of(room, "calls.empty") == []


def test_a_reply_that_waits_for_a_deleted_question_is_ended_where_the_deletion_did_not_come_to_it(
    room: Room,
) -> None:
    room.ask()
    room.wait()
    room.redact_question()
    timer = TimerRecord.of("calls.empty", f"{CHANNEL}#1#", due=1)
    room.repository.transact([timer.write()])

    run(room)

    assert room.generations.list_open(CHANNEL) == []
    assert room.told() == ["tool.requested", "tool.decided cancelled"]
