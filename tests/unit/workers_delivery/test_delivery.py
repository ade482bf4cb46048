import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Page, Query, Table, Update
from commons.dynamodb.exceptions import StorageBusyError
from commons.realtime import encoded_frames as frame_builders
from commons.realtime.broadcaster import Outcome, Post
from commons.services.removals import MAX_ENTRIES, RemovalsService
from workers_delivery.schemas import ParkedRange, RoomRange

from .conftest import World


def test_every_subscribed_connection_gets_the_events_ascending_in_one_frame(world: World) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    events = [world.say("C", f"text {n}") for n in range(10)]

    delivery = world.deliver(*reversed(events))

    assert delivery.delivered == 2
    for connection_id in ("a", "b"):
        (frame,) = world.frames(connection_id)
        assert frame == {"type": "events", "events": [event.to_wire() for event in events]}


def test_nobody_else_gets_them(world: World) -> None:
    world.connect("alice", "a", "C")
    world.connect("eve", "e", "D")

    world.deliver(world.say("C"))

    assert world.frames("e") == []


def test_each_channel_has_a_frame_of_its_own(world: World) -> None:
    world.connect("alice", "a", "C", "D")
    world.connect("bob", "b", "D")
    first, second, third = world.say("C"), world.say("D"), world.say("C")

    world.deliver(first, second, third)

    assert len(world.frames("a")) == 2
    assert sorted(world.received("a")) == [("C", 1), ("C", 2), ("D", 1)]
    assert world.received("b") == [("D", 1)]


def test_what_passes_128_kb_leaves_as_a_second_frame_of_the_same_post(world: World) -> None:
    world.connect("alice", "a", "C")

    world.deliver(*[world.say("C", "x" * 16_000) for _ in range(10)])

    assert len(world.frames("a")) == 2
    assert world.seqs("a") == list(range(1, 11))


def test_connections_that_listen_to_the_same_share_the_bytes(world: World) -> None:
    for n in range(3):
        world.connect(f"user{n}", f"c{n}", "C")

    world.deliver(world.say("C"))

    assert len({id(post.frames[0]) for post in world.broadcaster.calls[0]}) == 1


def test_delivering_costs_one_query_a_channel_and_no_write(
    world: World, repository: InMemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(20):
        world.connect(f"user{n}", f"c{n}", "C")
    events = [world.say("C") for _ in range(10)]
    queries: list[Query] = []
    query = repository.query

    def counted(asked: Query) -> Page:
        queries.append(asked)
        return query(asked)

    def forbidden(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("delivery reads one partition and writes nothing")

    monkeypatch.setattr(repository, "query", counted)
    for name in ("put", "update", "delete", "batch_delete", "transact", "get", "find", "batch_get"):
        monkeypatch.setattr(repository, name, forbidden)

    assert world.deliver(*events).delivered == 20

    assert [(asked.table, asked.partition, asked.consistent) for asked in queries] == [
        (Table.CONNECTIONS, "C", True)
    ]


def test_a_replaying_subscription_is_passed_over(world: World) -> None:
    world.connect("alice", "a", "C")
    world.set_subscription("C", "alice", "a", {"state": "replaying"})

    world.deliver(world.say("C"))

    assert world.frames("a") == []


def test_a_subscription_live_for_less_than_30_s_first_gets_what_it_missed_since_its_replay(
    world: World,
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    events = [world.say("C") for _ in range(6)]
    world.replay_and_go_live("C", "alice", "a", live_after=2, live_for=29)

    world.deliver(events[5])

    assert world.seqs("a") == [3, 4, 5, 6]
    assert world.seqs("b") == [6]


def test_a_subscription_live_for_longer_gets_what_is_new(world: World) -> None:
    world.connect("alice", "a", "C")
    events = [world.say("C") for _ in range(6)]
    world.replay_and_go_live("C", "alice", "a", live_after=2, live_for=31)

    world.deliver(events[5])

    assert world.seqs("a") == [6]


def test_what_was_replayed_already_is_not_sent_again(world: World) -> None:
    world.connect("alice", "a", "C")
    events = [world.say("C") for _ in range(4)]
    world.replay_and_go_live("C", "alice", "a", live_after=3, live_for=1)

    world.deliver(*events)

    assert world.seqs("a") == [4]


def test_a_gap_of_more_than_a_thousand_events_is_left_to_the_client(world: World) -> None:
    world.connect("alice", "a", "C")
    events = [world.say("C") for _ in range(1_003)]
    world.replay_and_go_live("C", "alice", "a", live_after=2, live_for=1)

    world.deliver(events[-1])

    assert world.seqs("a") == [1_003]


def test_a_hole_in_a_batch_is_filled_from_the_log(world: World) -> None:
    world.connect("alice", "a", "C")
    first, _second, third, _fourth, fifth = [world.say("C") for _ in range(5)]

    world.deliver(first)
    world.deliver(third, fifth)

    assert world.seqs("a") == [1, 3, 4, 5]


def test_what_the_stream_hands_over_late_shows_as_a_gap_and_comes_all_the_same(
    world: World,
) -> None:
    world.connect("alice", "a", "C")
    first, second, third = [world.say("C") for _ in range(3)]

    world.deliver(first)
    world.deliver(third)
    world.deliver(second)

    assert world.seqs("a") == [1, 3, 2]


def test_catching_up_shows_redactions_that_happened_since(world: World) -> None:
    world.connect("alice", "a", "C")
    secret, latest = world.say("C", "secret"), world.say("C")
    item = world.repository.get(Table.CHAT_EVENTS, keys.event_key("C", 1))
    world.repository.put(Table.CHAT_EVENTS, {**item, "data": {"text": "", "redacted": True}})
    world.replay_and_go_live("C", "alice", "a", live_after=0, live_for=1)

    world.deliver(latest)

    assert secret.seq == 1
    assert b"secret" not in b"".join(world.broadcaster.frames["a"])


def test_a_connection_that_is_gone_is_forgotten_and_the_others_are_served(world: World) -> None:
    world.connect("alice", "a", "C", "D")
    world.connect("bob", "b", "C")
    world.broadcaster.gone = {"a"}

    delivery = world.deliver(world.say("C"))

    assert (delivery.delivered, delivery.stale, delivery.undelivered) == (1, 1, ())
    assert [row.connection_id for row in world.connections.subscriptions("C")] == ["b"]
    assert world.connections.subscriptions("D") == []
    assert world.connections.find("a") is None


def test_a_connection_that_is_gone_within_10_s_of_connecting_is_not_forgotten(
    world: World,
) -> None:
    world.connect("alice", "a", "C", connected_seconds_ago=9)
    world.broadcaster.gone = {"a"}

    delivery = world.deliver(world.say("C"))

    assert (delivery.stale, delivery.failed, delivery.undelivered) == (0, 1, ())
    world.broadcaster.gone = set()
    assert world.run_errands() == []
    assert world.seqs("a") == [1]
    assert [row.connection_id for row in world.connections.subscriptions("C")] == ["a"]


def test_an_expired_connection_gets_nothing_and_is_closed(world: World) -> None:
    world.connect("alice", "a", "C")
    world.set_subscription("C", "alice", "a", {"expires_at": 1_000})
    world.repository.update(
        Table.CONNECTIONS, keys.connection_key("a"), Update(set={"expires_at": 1_000})
    )

    world.deliver(world.say("C"))

    assert world.frames("a") == []
    assert world.broadcaster.closed == ["a"]
    assert world.connections.subscriptions("C", include_expired=True) == []


def test_a_connection_that_was_renewed_since_its_subscription_was_read_is_not_closed(
    world: World,
) -> None:
    world.connect("alice", "a", "C")
    world.set_subscription("C", "alice", "a", {"expires_at": 1_000})

    world.deliver(world.say("C"))

    assert world.broadcaster.closed == []
    assert world.connections.find("a") is not None


def test_an_event_too_large_for_a_frame_is_parked_and_the_others_are_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    monkeypatch.setattr("workers_delivery.services.push.MAX_EVENT_BYTES", 1_000)

    delivery = world.deliver(world.say("C"), world.say("C", "x" * 2_000), world.say("C"))

    assert delivery.undelivered == (
        ParkedRange(channel_id="C", from_seq=2, to_seq=2, reason="too_large"),
    )
    assert world.seqs("a") == [1, 3]


def test_a_member_who_left_gets_nothing_past_the_leaving_but_the_end_of_the_subscription(
    world: World,
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C", "D")
    events = [world.say("C"), world.leave("C", "bob"), world.say("C")]

    world.deliver(*events)

    assert world.seqs("a") == [1, 2, 3]
    assert world.received("b") == [("C", 1), ("C", 2)]
    world.run_errands()
    assert world.frames("b")[-1] == {
        "type": "unsubscribed",
        "channelId": "C",
        "reason": "removed",
    }
    assert [row.connection_id for row in world.connections.subscriptions("C")] == ["a"]
    assert [row.connection_id for row in world.connections.subscriptions("D")] == ["b"]


def test_where_the_api_has_unsubscribed_them_already_there_is_nothing_to_say(
    world: World,
) -> None:
    world.connect("bob", "b", "C")
    left = world.leave("C", "bob")
    world.connections.remove_user("C", "bob")

    world.deliver(left)

    assert world.frames("b") == []


def test_a_member_who_left_and_joined_again_stays_subscribed(world: World) -> None:
    world.connect("bob", "b", "C")
    left = world.leave("C", "bob")
    world.join("C", "bob")
    after = world.say("C")

    world.deliver(left, after)

    assert world.seqs("b") == [1, 2]
    assert [row.connection_id for row in world.connections.subscriptions("C")] == ["b"]


def test_a_parked_range_is_read_from_the_log_and_delivered(world: World) -> None:
    world.connect("alice", "a", "C")
    for _ in range(250):
        world.say("C")

    parked = ParkedRange(channel_id="C", from_seq=3, to_seq=240, reason="unavailable")

    assert world.take(parked) == []
    assert world.seqs("a") == list(range(3, 241))


def test_the_same_batch_twice_is_a_repeat(world: World) -> None:
    world.connect("alice", "a", "C")
    events = [world.say("C"), world.say("C")]

    world.deliver(*events)
    world.deliver(*events)

    assert world.seqs("a") == [1, 2, 1, 2]


def test_a_channel_nobody_listens_to_costs_no_post(world: World) -> None:
    delivery = world.deliver(world.say("C"))

    assert (delivery.delivered, delivery.undelivered) == (0, ())
    assert world.broadcaster.calls == []


def test_frames_never_pass_the_gateways_limit(world: World) -> None:
    world.connect("alice", "a", "C")

    world.deliver(*[world.say("C", "🦊" * 16_000) for _ in range(5)])

    assert all(
        len(frame) <= frame_builders.MAX_FRAME_BYTES for frame in world.broadcaster.frames["a"]
    )
    assert world.seqs("a") == [1, 2, 3, 4, 5]


def test_what_the_stream_hands_over_late_is_read_from_the_log_again(world: World) -> None:
    world.connect("alice", "a", "C")
    secret = world.say("C", "secret")
    item = world.repository.get(Table.CHAT_EVENTS, keys.event_key("C", 1))
    world.repository.put(Table.CHAT_EVENTS, {**item, "data": {"text": "", "redacted": True}})
    world.clock.advance(1)

    world.deliver(secret)

    assert world.seqs("a") == [1]
    assert b"secret" not in b"".join(world.broadcaster.frames["a"])


def test_nothing_is_sent_after_a_credentials_end(world: World) -> None:
    world.connect("alice", "a", "C", expires_in=5)
    event = world.say("C")
    world.clock.advance(6)

    world.deliver(event)

    assert world.frames("a") == []


class Slow:
    """Queries of one channel's subscriptions that take a while, or are refused."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch, channel_id: str) -> None:
        self.release = threading.Event()
        self.fails = False
        query = world.repository.query

        def slow(asked: Query) -> Page:
            if (asked.table, asked.partition) == (Table.CONNECTIONS, channel_id):
                if self.fails:
                    raise StorageBusyError
                self.release.wait(10)
            return query(asked)

        monkeypatch.setattr(world.repository, "query", slow)


def test_a_channel_that_is_read_slowly_delays_no_other_and_comes_apart_from_the_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers_delivery.services.delivery.BATCH_SECONDS", 0.1)
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "D")
    events = [world.say("C"), world.say("D"), world.say("C")]
    slow = Slow(world, monkeypatch, "C")
    arrived: list[bool] = []
    send = world.broadcaster.send

    def noting(*args: Any, **kwargs: Any) -> Outcome:
        arrived.append(slow.release.is_set())
        return send(*args, **kwargs)

    monkeypatch.setattr(world.broadcaster, "send", noting)

    delivery = world.deliver(*events)

    assert world.received("b") == [("D", 1)]
    assert arrived == [False]
    assert (delivery.set_aside, delivery.undelivered) == (1, ())
    assert world.queues.ranges == [RoomRange(channel_id="C", from_seq=1, to_seq=2)]
    slow.release.set()
    assert world.run_errands() == []
    assert world.received("a") == [("C", 1), ("C", 2)]


class Hanging:
    """Posts that nobody answers until they are released."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        self._send = world.broadcaster.send
        self._monkeypatch = monkeypatch
        self._world = world
        monkeypatch.setattr("workers_delivery.services.delivery.BATCH_SECONDS", 0.1)
        monkeypatch.setattr(world.broadcaster, "send", self._hang)

    def _hang(self, *_args: object, **_kwargs: object) -> Outcome:
        self.release.wait(10)
        raise StorageBusyError

    def ends(self) -> None:
        """For what is posted from here on."""
        self._monkeypatch.setattr(self._world.broadcaster, "send", self._send)


def set_aside(world: World, monkeypatch: pytest.MonkeyPatch) -> RoomRange:
    """The first event of C, which alice hears, waits; whoever asks has its message in hand."""
    world.connect("alice", "a", "C")
    hanging = Hanging(world, monkeypatch)
    world.deliver(world.say("C"))
    hanging.ends()
    hanging.release.set()
    return world.queues.ranges.pop()


def test_what_follows_a_push_that_takes_too_long_comes_after_what_that_was_to_bring(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "D")
    early, later, elsewhere = world.say("C"), world.say("C"), world.say("D")
    hanging = Hanging(world, monkeypatch)
    first = world.deliver(early)
    hanging.ends()

    second = world.deliver(later, elsewhere)

    assert (first.set_aside, first.undelivered) == (1, ())
    assert (second.set_aside, second.undelivered) == (1, ())
    assert (world.seqs("a"), world.seqs("b")) == ([], [1])
    assert world.run_errands() == []
    hanging.release.set()
    assert world.first_seen("a") == [1, 2]


def test_once_the_queue_has_brought_what_waited_the_stream_brings_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = set_aside(world, monkeypatch)
    world.deliver(world.say("C"))

    # The first is brought while the second waits: the third still waits behind that.
    assert world.take(early) == []
    world.deliver(world.say("C"))
    assert world.seqs("a") == [1]
    assert world.run_errands() == []
    delivery = world.deliver(world.say("C"))

    assert delivery.set_aside == 0
    assert world.seqs("a") == [1, 2, 3, 4]


def test_what_the_queue_has_not_brought_yet_still_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = set_aside(world, monkeypatch)
    slow = Slow(world, monkeypatch, "C")
    slow.fails = True

    assert world.take(early) == ["0"]

    slow.fails = False
    slow.release.set()
    assert world.deliver(world.say("C")).set_aside == 1
    assert world.take(early) == []
    assert world.run_errands() == []
    assert world.first_seen("a") == [1, 2]


def test_where_it_cannot_be_noted_that_something_waits_it_is_brought_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    hanging = Hanging(world, monkeypatch)
    event = world.say("C")

    with monkeypatch.context() as down:
        down.setattr(world.repository, "put", failing)
        delivery = world.deliver(event)

    hanging.ends()
    hanging.release.set()
    assert (delivery.set_aside, delivery.undelivered) == (1, ())
    assert world.run_errands() == []
    assert world.seqs("a") == [1]


def test_storage_that_is_slow_to_note_it_holds_the_batch_no_longer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers_delivery.services.delivery.NOTE_SECONDS", 0.1)
    for number in range(3):
        world.connect("alice", f"a{number}", f"C{number}")
    hanging = Hanging(world, monkeypatch)
    events = [world.say(f"C{number}") for number in range(3)]
    monkeypatch.setattr(world.repository, "put", lambda *_, **__: hanging.release.wait(30))

    delivery = world.deliver(*events)

    assert not hanging.release.is_set()
    hanging.release.set()
    assert (delivery.set_aside, delivery.undelivered) == (3, ())


def test_where_only_the_clearing_fails_what_was_brought_is_done_and_the_next_event_clears_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = set_aside(world, monkeypatch)

    with monkeypatch.context() as down:
        down.setattr(world.repository, "delete", failing)
        assert world.take(early) == []

    assert world.deliver(world.say("C")).set_aside == 1
    assert world.run_errands() == []
    assert world.deliver(world.say("C")).set_aside == 0
    assert world.seqs("a") == [1, 2, 3]


def test_what_waits_for_a_person_to_park_it_is_still_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = set_aside(world, monkeypatch)

    with monkeypatch.context() as broken:
        broken.setattr("workers_delivery.services.push.ChannelPush._read_events", mistaken)
        world.queues.is_down = True
        assert world.take(asked) == ["0"]

    world.queues.is_down = False
    assert world.deliver(world.say("C")).set_aside == 1
    assert world.take(asked) == []
    assert world.run_errands() == []
    assert world.first_seen("a") == [1, 2]


def failing(*_args: object, **_kwargs: object) -> None:
    raise StorageBusyError


def mistaken(*_args: object, **_kwargs: object) -> None:
    raise ZeroDivisionError


def test_a_push_that_was_abandoned_sends_nothing_when_its_read_comes_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers_delivery.services.delivery.BATCH_SECONDS", 0.1)
    world.connect("alice", "a", "C")
    slow = Slow(world, monkeypatch, "C")

    world.deliver(world.say("C"))
    slow.release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("channel"):
            thread.join(5)

    assert world.frames("a") == []


def test_a_channel_whose_connections_cannot_be_read_comes_again_and_the_others_are_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "D")
    events = [world.say("C"), world.say("C"), world.say("D")]
    Slow(world, monkeypatch, "C").fails = True

    delivery = world.deliver(*events)

    assert delivery.undelivered == (
        ParkedRange(channel_id="C", from_seq=1, to_seq=2, reason="unavailable"),
    )
    assert world.received("b") == [("D", 1)]


def test_what_storage_did_not_do_for_10_s_holds_the_stream_no_longer_and_comes_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    event = world.say("C")
    slow = Slow(world, monkeypatch, "C")
    slow.fails = True
    world.clock.advance(11)

    assert world.deliver(event).undelivered == ()

    (asked,) = world.queues.ranges
    assert world.take(asked) == ["0"]
    slow.fails = False
    slow.release.set()
    assert world.take(asked) == []
    assert (world.seqs("a"), world.queues.parked) == ([1], [])


def test_where_not_even_the_queue_takes_it_the_stream_hands_it_over_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    event = world.say("C")
    Slow(world, monkeypatch, "C").fails = True
    world.clock.advance(11)
    world.queues.is_down = True

    assert [each.reason for each in world.deliver(event).undelivered] == ["unavailable"]


def test_an_error_of_ours_is_parked_and_raises_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    event = world.say("C")

    def break_down(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(world.broadcaster, "send", break_down)

    assert world.deliver(event).undelivered == (
        ParkedRange(channel_id="C", from_seq=1, to_seq=1, reason="internal"),
    )


def look_again(world: World, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> Any:
    """Lets something happen while a push waits; returns what is still sent to whom then."""
    revised: dict[str, Post] = {}
    send = world.broadcaster.send

    def send_with(posts: Iterable[Post], **kwargs: Any) -> Outcome:
        sent = list(posts)
        meanwhile()
        revised.update(kwargs["revalidate"](frozenset(post.connection_id for post in sent)))
        return send(sent, **kwargs)

    monkeypatch.setattr(world.broadcaster, "send", send_with)
    return revised


def test_who_is_removed_while_a_push_waits_gets_no_more_and_the_room_is_not_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    event = world.say("C")

    def remove() -> None:
        world.repository.delete(Table.CHANNELS, keys.member_key("C", "alice"))
        world.connections.remove_user("C", "alice")
        monkeypatch.setattr(world.repository, "query", None)

    revised = look_again(world, monkeypatch, remove)
    world.deliver(event)

    assert set(revised) == {"b"}


def test_who_is_back_before_a_push_is_through_is_still_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    event = world.say("C")

    def swap() -> None:
        world.repository.delete(Table.CHANNELS, keys.member_key("C", "alice"))
        world.connections.remove_user("C", "alice")
        world.join("C", "alice")
        world.connections.subscribe(world.connections.require("a"), "C")

    swap()
    revised = look_again(world, monkeypatch, lambda: None)
    world.deliver(event)

    assert set(revised) == {"a"}


def test_where_the_removals_no_longer_say_it_the_room_is_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    event = world.say("C")
    (row,) = world.connections.of_user("C", "alice")

    def remove() -> None:
        world.connections.end([row])
        for number in range(MAX_ENTRIES + 1):
            another = row.model_copy(update={"subscription_id": f"s{number}"})
            RemovalsService(world.repository).note("C", [another])

    revised = look_again(world, monkeypatch, remove)
    world.deliver(event)

    assert set(revised) == {"b"}


def test_text_that_is_deleted_while_a_push_waits_is_not_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    event = world.say("C", "secret")

    def delete() -> None:
        item = world.repository.get(Table.CHAT_EVENTS, keys.event_key("C", 1))
        world.repository.put(Table.CHAT_EVENTS, {**item, "data": {"text": "", "redacted": True}})
        world.clock.advance(0.6)

    revised = look_again(world, monkeypatch, delete)
    world.deliver(event)

    assert b"secret" not in b"".join(revised["a"].frames)


def test_where_storage_does_not_say_who_was_removed_nothing_more_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    event = world.say("C")

    def fail(*_args: object, **_kwargs: object) -> None:
        raise StorageBusyError

    look_again(world, monkeypatch, lambda: monkeypatch.setattr(world.repository, "find", fail))

    assert [each.reason for each in world.deliver(event).undelivered] == ["unavailable"]
    assert world.frames("a") == []


def test_a_list_that_took_long_to_read_is_held_to_who_was_removed_before_anything_leaves(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    event = world.say("C")
    query = world.repository.query

    def slow(asked: Query) -> Page:
        page = query(asked)
        if (asked.table, asked.partition, asked.sort) == (Table.CONNECTIONS, "C", None):
            monkeypatch.setattr(world.repository, "query", query)
            world.repository.delete(Table.CHANNELS, keys.member_key("C", "bob"))
            world.connections.remove_user("C", "bob")
            world.clock.advance(0.3)
        return page

    monkeypatch.setattr(world.repository, "query", slow)

    world.deliver(event)

    assert (world.seqs("a"), world.frames("b")) == ([1], [])
