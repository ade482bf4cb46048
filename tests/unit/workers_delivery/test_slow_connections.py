"""What becomes of a connection that does not take a push in time."""

import pytest

from commons import keys
from commons.dal import Page, Query, Table
from commons.dynamodb.exceptions import StorageBusyError
from commons.errors import UnavailableError
from workers_delivery.services.delivery import HICCUP_SECONDS, MANY

from .conftest import World


def states(world: World, channel_id: str = "C") -> dict[str, str]:
    return {row.connection_id: row.state for row in world.connections.room(channel_id)}


def test_who_does_not_take_a_push_is_passed_over_and_brought_up_from_the_log(
    world: World,
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.deliver(world.say("C"))
    world.broadcaster.failing = {"a"}

    delivery = world.deliver(world.say("C"))
    world.broadcaster.failing = set()
    world.deliver(world.say("C"))

    assert (delivery.delivered, delivery.failed, delivery.undelivered) == (1, 1, ())
    assert states(world) == {"a": "replaying", "b": "live"}
    assert world.seqs("a") == [1]
    assert world.run_errands() == []
    assert world.seqs("a") == [1, 2, 3]
    assert states(world) == {"a": "live", "b": "live"}
    world.deliver(world.say("C"))
    assert world.seqs("a") == world.seqs("b") == [1, 2, 3, 4]


def test_a_handshake_that_still_runs_costs_no_event(world: World) -> None:
    world.connect("alice", "a", "C", connected_seconds_ago=1)
    world.broadcaster.gone = {"a"}
    world.deliver(world.say("C"))
    world.broadcaster.gone = set()

    world.deliver(world.say("C"))
    world.run_errands()

    assert world.seqs("a") == [1, 2]


def test_who_takes_nothing_for_ten_seconds_is_closed_and_complete_when_he_resumes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commons.services.replay.PAST_SECONDS", 0.05)
    world.connect("alice", "a", "C", "D")
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a"}

    world.deliver(world.say("C"))
    world.run_errands()

    assert world.broadcaster.closed == ["a"]
    assert world.connections.find("a") is None
    assert states(world, "D") == {}
    assert world.seqs("b") == [1]


def test_nobody_is_closed_while_the_api_closes_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commons.services.replay.PAST_SECONDS", 0.05)
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a"}
    world.deliver(world.say("C"))
    world.broadcaster.is_down = True
    (errand,) = world.queues.catch_ups

    assert world.take(errand) == ["0"]
    assert world.connections.find("a") is not None
    world.broadcaster.is_down, world.broadcaster.failing = False, set()
    assert world.take(errand) == []
    assert world.seqs("a") == [1]


def test_where_the_api_serves_nobody_no_connection_is_blamed_and_the_stream_tries_again(
    world: World,
) -> None:
    for number in range(5):
        world.connect(f"user-{number}", f"c{number}", "C", "D")
    world.broadcaster.failing = {f"c{number}" for number in range(4)}
    world.broadcaster.is_down = True
    events = [world.say("C"), world.say("D")]

    delivery = world.deliver(*events)

    assert {each.channel_id for each in delivery.undelivered} == {"C", "D"}
    assert {each.reason for each in delivery.undelivered} == {"unavailable"}
    assert set(states(world).values()) == {"live"}
    assert world.queues.catch_ups == []


def test_where_most_of_many_take_nothing_for_a_moment_the_stream_brings_it_again(
    world: World,
) -> None:
    everybody = {f"c{number}" for number in range(MANY + 2)}
    for connection_id in everybody:
        world.connect(f"user-{connection_id}", connection_id, "C")
    world.broadcaster.failing = everybody - {"c0"}
    event = world.say("C")

    delivery = world.deliver(event)

    assert [each.reason for each in delivery.undelivered] == ["unavailable"]
    assert set(states(world).values()) == {"live"}
    assert world.queues.catch_ups == []
    world.broadcaster.failing = set()
    assert world.deliver(event).undelivered == ()
    assert all(set(world.seqs(each)) == {1} for each in everybody)


def test_many_who_hang_for_longer_are_put_back(world: World) -> None:
    hanging = {f"c{number}" for number in range(MANY + 1)}
    for connection_id in hanging:
        world.connect(f"user-{connection_id}", connection_id, "C")
    world.broadcaster.failing = hanging
    event = world.say("C")
    world.deliver(event)
    world.clock.advance(HICCUP_SECONDS)

    assert world.deliver(event).undelivered == ()
    assert set(states(world).values()) == {"replaying"}


def test_two_who_hang_in_a_small_room_are_no_outage(world: World) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a", "b"}

    delivery = world.deliver(world.say("C"))

    assert delivery.undelivered == ()
    assert set(states(world).values()) == {"replaying"}


def test_who_takes_some_is_brought_up_from_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commons.services.replay.PAST_SECONDS", 0.05)
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a"}
    for _ in range(20):
        world.deliver(world.say("C", "x" * 16_000))
    world.broadcaster.failing = set()
    send = world.broadcaster.send
    taken = []

    def send_two(*args: object, **kwargs: object) -> object:
        taken.append(1)
        world.broadcaster.failing = {"a"} if len(taken) == 3 else set()
        return send(*args, **kwargs)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(world.broadcaster, "send", send_two)

    assert world.run_errands() == []

    assert world.seqs("a") == list(range(1, 21))
    assert world.broadcaster.closed == []
    assert states(world) == {"a": "live", "b": "live"}


def test_who_is_removed_while_he_is_slow_is_not_brought_up(world: World) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a"}
    world.deliver(world.say("C"))
    world.broadcaster.failing = set()
    world.repository.delete(Table.CHANNELS, keys.member_key("C", "alice"))

    assert world.run_errands() == []

    assert world.frames("a") == []
    assert states(world) == {"b": "live"}


def test_a_message_of_an_earlier_replay_does_nothing(world: World) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a"}
    world.deliver(world.say("C"))
    world.broadcaster.failing = set()
    (errand,) = world.queues.catch_ups

    assert world.take(errand, errand.model_copy(update={"replaying_since": 1})) == []
    world.broadcaster.frames.clear()
    assert world.take(errand) == []
    assert world.frames("a") == []


def test_a_replay_whose_worker_died_is_begun_anew_by_whoever_delivers_later(
    world: World,
) -> None:
    world.connect("alice", "a", "C")
    world.deliver(world.say("C"))
    connection = world.connections.require("a")
    world.connections.subscribe(connection, "C", state="replaying", after=1)  # and no more of it
    world.deliver(world.say("C"))
    assert world.queues.catch_ups == []
    world.clock.advance(31)

    world.deliver(world.say("C"))
    world.deliver(world.say("C"))

    assert len(world.queues.catch_ups) == 1
    assert world.run_errands() == []
    assert world.seqs("a") == [1, 2, 3, 4]


def test_where_the_queue_takes_nothing_a_subscription_is_found_adrift_later(
    world: World,
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a"}
    world.queues.is_down = True
    assert world.deliver(world.say("C")).undelivered == ()
    world.queues.is_down, world.broadcaster.failing = False, set()
    world.clock.advance(31)

    world.deliver(world.say("C"))
    world.run_errands()

    assert world.seqs("a") == [1, 2]


def test_where_storage_does_not_answer_a_replay_is_tried_again_and_nobody_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a"}
    world.deliver(world.say("C"))
    world.broadcaster.failing = set()
    (errand,) = world.queues.catch_ups

    def busy(_asked: Query) -> Page:
        raise StorageBusyError

    with monkeypatch.context() as down:
        down.setattr(world.repository, "query", busy)
        assert world.take(errand) == ["0"]

    assert world.broadcaster.closed == []
    assert world.take(errand) == []
    assert world.seqs("a") == [1]


def test_a_connection_that_expires_while_it_is_slow_is_closed(world: World) -> None:
    world.connect("alice", "a", "C", expires_in=20)
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a"}
    world.deliver(world.say("C"))
    world.broadcaster.failing = set()
    world.clock.advance(21)

    assert world.run_errands() == []

    assert world.frames("a") == []
    assert world.broadcaster.closed == ["a"]


def test_what_storage_did_is_of_one_kind() -> None:
    assert issubclass(StorageBusyError, UnavailableError)
