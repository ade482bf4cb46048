"""Rooms that are too full for one worker: a message a shard, order a connection kept."""

import pytest

from commons.dal import Table
from commons.dynamodb.exceptions import StorageBusyError
from commons.records.connection import Backlog
from commons.services.connections import ConnectionsService
from workers_delivery.schemas import RoomRange
from workers_delivery.services import delivery, push

from .conftest import World


@pytest.fixture(autouse=True)
def _small_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "FULL_ROOM", 10)
    monkeypatch.setattr(delivery, "FULL_SHARD", 5)


def fill(world: World, count: int, first: int = 0) -> None:
    world.connections = ConnectionsService(world.repository)  # that remembers no room
    for number in range(first, first + count):
        world.connect(f"user-{number:02}", f"c{number}", "C")


def test_a_room_at_the_bound_is_delivered_at_once(world: World) -> None:
    fill(world, 10)

    assert world.deliver(world.say("C")).delivered == 10
    assert world.queues.ranges == []


def test_what_waits_makes_no_room_fuller(world: World) -> None:
    fill(world, 10)
    backlog = Backlog(backlog_through=1).to_item("C", ttl=1)
    world.repository.put(Table.CONNECTIONS, backlog)

    page = world.connections.first_page("C", 10)

    assert (len(page.subscriptions), page.shards, page.backlog) == (10, 0, 1)


def test_a_room_above_it_is_spread_and_delivered_shard_by_shard(world: World) -> None:
    fill(world, 11)
    events = [world.say("C", "a secret"), world.say("C")]

    outcome = world.deliver(*events)

    assert (outcome.delivered, outcome.set_aside, outcome.undelivered) == (0, 1, ())
    assert world.queues.ranges == [
        RoomRange(channel_id="C", from_seq=1, to_seq=2, shard=shard, shards=4) for shard in range(4)
    ]
    assert world.run_errands() == []
    assert all(world.seqs(f"c{number}") == [1, 2] for number in range(11))


def test_everybody_in_a_room_that_has_grown_hears_everything_in_order(world: World) -> None:
    fill(world, 11)
    world.deliver(world.say("C"))
    world.run_errands()
    fill(world, 40, first=11)

    for _ in range(3):
        world.deliver(world.say("C"))
        world.run_errands()

    assert all(world.seqs(f"c{number}") == [1, 2, 3, 4] for number in range(11))
    assert all(world.seqs(f"c{number}") == [2, 3, 4] for number in range(11, 51))
    assert len({each.shard for each in world.connections.room("C")}) == 4


def test_a_room_grows_by_the_shards_that_it_grew_by_last(world: World) -> None:
    fill(world, 11)
    world.deliver(world.say("C"))
    world.run_errands()
    assert world.connections.shards_of("C") == 4
    world.deliver(world.say("C"))
    world.run_errands()
    assert world.connections.shards_of("C") == 4

    fill(world, 60, first=11)
    world.deliver(world.say("C"))
    world.run_errands()

    assert world.connections.shards_of("C") == 16


def test_a_shards_messages_of_a_batch_are_one_push(world: World) -> None:
    fill(world, 11)
    for _ in range(3):
        world.deliver(world.say("C"))

    assert world.run_errands() == []

    assert len(world.broadcaster.frames["c0"]) == 1
    assert world.seqs("c0") == [1, 2, 3]


def test_a_shard_whose_push_is_through_waits_for_no_other_of_its_batch(world: World) -> None:
    fill(world, 11)
    world.deliver(world.say("C"))

    assert world.take(*world.queues.ranges) == []

    assert sorted(world.queues.finished) == ["0", "1", "2", "3"]


def test_a_push_that_is_alone_is_left_to_lambda(world: World) -> None:
    fill(world, 11)
    world.deliver(world.say("C"))

    assert world.take(world.queues.ranges[0]) == []

    assert world.queues.finished == []


def test_a_push_that_failed_is_tried_again_soon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world, 11)
    world.deliver(world.say("C"))

    with monkeypatch.context() as down:
        down.setattr(world.repository, "iterate", _fail)
        assert world.take(world.queues.ranges[0]) == ["0"]

    assert world.queues.retried == ["0"]


def _fail(*_args: object, **_kwargs: object) -> None:
    raise StorageBusyError


def test_a_slow_connection_in_a_shard_goes_the_same_way(world: World) -> None:
    fill(world, 11)
    world.deliver(world.say("C"))
    world.broadcaster.failing = {"c3"}
    assert world.take(*world.queues.ranges) == []
    world.queues.ranges = []
    world.broadcaster.failing = set()
    world.deliver(world.say("C"))

    assert world.run_errands() == []

    assert all(world.first_seen(f"c{number}") == [1, 2] for number in range(11))


def test_where_the_queue_takes_nothing_the_stream_hands_a_full_room_over_again(
    world: World,
) -> None:
    fill(world, 11)
    world.queues.is_down = True

    (again,) = world.deliver(world.say("C")).undelivered

    assert again.reason == "unavailable"


def test_a_full_room_delays_no_other_channel(world: World) -> None:
    fill(world, 11)
    world.connect("alice", "a", "D")

    world.deliver(world.say("C"), world.say("D"))

    assert world.seqs("a") == [1]
    assert world.frames("c0") == []
