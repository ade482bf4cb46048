import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Page, Query, Table, Update, Write
from commons.dynamodb.exceptions import StorageBusyError
from commons.realtime import encoded_frames as frame_builders
from commons.realtime.broadcaster import Post
from workers_delivery.schemas import ParkedRange
from workers_delivery.services.audience import Audience, AudienceService
from workers_delivery.services.delivery import DeliveryService

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


def test_events_of_several_channels_reach_a_connection_in_one_frame(world: World) -> None:
    world.connect("alice", "a", "C", "D")
    world.connect("bob", "b", "D")
    first, second, third = world.say("C"), world.say("D"), world.say("C")

    world.deliver(first, second, third)

    assert len(world.frames("a")) == 1
    assert world.received("a") == [("C", 1), ("C", 2), ("D", 1)]
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


def test_what_this_worker_caught_up_is_not_sent_with_every_batch(world: World) -> None:
    world.connect("alice", "a", "C")
    for _ in range(3):
        world.say("C")
    world.replay_and_go_live("C", "alice", "a", live_after=1, live_for=1)

    world.deliver(world.say("C"))
    world.deliver(world.say("C"))

    assert world.seqs("a") == [2, 3, 4, 5]


def test_a_push_that_failed_is_made_good_while_the_subscription_is_new(world: World) -> None:
    world.connect("alice", "a", "C")
    world.say("C")
    world.replay_and_go_live("C", "alice", "a", live_after=1, live_for=1)
    world.broadcaster.failing = {"a"}
    world.deliver(world.say("C"))
    world.broadcaster.failing = set()
    world.clock.advance(2)

    world.deliver(world.say("C"))

    assert world.seqs("a") == [2, 3]


def test_a_gap_of_more_than_a_thousand_events_is_left_to_the_client(world: World) -> None:
    world.connect("alice", "a", "C")
    events = [world.say("C") for _ in range(1_003)]
    world.replay_and_go_live("C", "alice", "a", live_after=2, live_for=1)

    world.deliver(events[-1])

    assert world.seqs("a") == [1_003]


def test_a_hole_in_the_stream_that_this_worker_knows_of_is_filled_from_the_log(
    world: World,
) -> None:
    world.connect("alice", "a", "C")
    first, _second, third, _fourth, fifth = [world.say("C") for _ in range(5)]

    world.deliver(first)
    world.deliver(third, fifth)

    assert world.seqs("a") == [1, 2, 3, 4, 5]


def test_what_comes_late_comes_as_a_repeat(world: World) -> None:
    world.connect("alice", "a", "C")
    first, second, third = [world.say("C") for _ in range(3)]

    world.deliver(first)
    world.deliver(third)
    world.deliver(second)

    assert world.seqs("a") == [1, 2, 3, 2]


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

    assert (delivery.stale, delivery.failed, delivery.undelivered) == (0, 0, ())
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


def test_one_connection_that_fails_is_a_gap_for_it_to_sync_and_nothing_to_park(
    world: World,
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a"}

    delivery = world.deliver(world.say("C"))

    assert (delivery.delivered, delivery.failed, delivery.undelivered) == (1, 1, ())


def tried(world: World, batch: int) -> dict[str, bool]:
    """Whom a batch tried to reach, and whether that was a probe."""
    return {post.connection_id: post.is_probe for post in world.broadcaster.calls[batch]}


def test_a_connection_that_failed_is_left_in_peace_then_probed_less_and_less(
    world: World,
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a"}
    world.deliver(world.say("C"))

    quiet_for: list[float] = []
    for _ in range(6):
        started = world.clock.seconds
        while "a" not in tried(world, -1) or world.clock.seconds == started:
            world.clock.advance(0.5)
            assert world.deliver(world.say("C")).failed == 1
        assert tried(world, -1) == {"a": True, "b": False}
        quiet_for.append(world.clock.seconds - started)

    assert quiet_for == [2, 4, 8, 16, 30, 30]
    assert len(world.seqs("b")) == world.event_log.head("C")


def test_a_connection_that_recovers_gets_what_it_was_owed_first(world: World) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.deliver(world.say("C"))
    world.broadcaster.failing = {"a"}
    for _ in range(3):
        world.deliver(world.say("C"))
    world.broadcaster.failing = set()
    world.clock.advance(2)

    world.deliver(world.say("C"))
    world.deliver(world.say("C"))

    assert world.seqs("a") == [1, 2, 3, 4, 5, 6]
    assert tried(world, -1) == {"a": False, "b": False}


def test_a_connection_that_was_away_for_more_than_100_events_syncs(world: World) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a"}
    for _ in range(101):
        world.deliver(world.say("C"))
    world.broadcaster.failing = set()
    world.clock.advance(2)

    world.deliver(world.say("C"))

    assert world.seqs("a") == [102]


def test_a_channels_only_listener_that_fails_is_no_reason_to_park(world: World) -> None:
    world.connect("alice", "a", "C")
    world.connect("alice", "a2", "C")
    world.broadcaster.failing = {"a", "a2"}

    assert world.deliver(world.say("C")).undelivered == ()
    assert world.deliver(world.say("C")).undelivered == ()


def test_where_others_were_reached_channels_of_failing_connections_are_not_parked(
    world: World,
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    world.connect("carol", "c", "D")
    world.broadcaster.failing = {"a", "b"}

    assert world.deliver(world.say("C"), world.say("D")).undelivered == ()
    assert world.deliver(world.say("C")).undelivered == ()


def test_where_nobody_was_reached_for_10_s_the_channels_are_parked(world: World) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "D")
    world.deliver(world.say("C"), world.say("D"))
    world.broadcaster.failing = {"a", "b"}
    world.clock.advance(10)

    for first in (2, 4):
        delivery = world.deliver(world.say("C"), world.say("C"), world.say("D"))
        assert delivery.undelivered == (
            ParkedRange(channel_id="C", from_seq=first, to_seq=first + 1, reason="push"),
            ParkedRange(
                channel_id="D", from_seq=first // 2 + 1, to_seq=first // 2 + 1, reason="push"
            ),
        )


def test_a_channel_whose_connections_cannot_be_read_is_parked_and_the_others_are_served(
    world: World, repository: InMemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "D")
    query = repository.query

    def busy(asked: Query) -> Page:
        if asked.partition == "C":
            raise StorageBusyError
        return query(asked)

    events = [world.say("C"), world.say("C"), world.say("D")]
    monkeypatch.setattr(repository, "query", busy)

    delivery = world.deliver(*events)

    assert delivery.undelivered == (
        ParkedRange(channel_id="C", from_seq=1, to_seq=2, reason="unavailable"),
    )
    assert world.received("b") == [("D", 1)]


def test_an_event_too_large_for_a_frame_is_parked_and_the_others_are_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    monkeypatch.setattr("workers_delivery.coalescing.MAX_EVENT_BYTES", 1_000)

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


def test_a_member_who_joins_again_while_frames_are_pushed_stays_subscribed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("bob", "b", "C")
    left = world.leave("C", "bob")
    send = world.broadcaster.send

    def send_while_joining(*args: object, **kwargs: object) -> object:
        world.join("C", "bob")
        return send(*args, **kwargs)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(world.broadcaster, "send", send_while_joining)

    world.deliver(left)

    assert [row.connection_id for row in world.connections.subscriptions("C")] == ["b"]


def test_unsubscribed_waits_for_what_others_were_sending_when_the_subscription_ended(
    world: World, repository: InMemoryRepository, broadcaster: InMemoryBroadcaster
) -> None:
    world.connect("bob", "b", "C")
    delivery = DeliveryService(repository, broadcaster=broadcaster, last_frames_seconds=0.2)
    left = world.leave("C", "bob")
    started = time.monotonic()

    delivery.deliver({"C": {left.seq: left}})

    assert world.frames("b")[-1]["type"] == "unsubscribed"
    assert time.monotonic() - started >= 0.2


def test_who_subscribed_again_meanwhile_is_not_told_that_it_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("bob", "b", "C")
    left = world.leave("C", "bob")

    def come_back(_seconds: float) -> None:
        world.join("C", "bob")
        world.connections.subscribe(world.connections.require("b"), "C")

    monkeypatch.setattr("workers_delivery.services.delivery.time.sleep", come_back)

    world.deliver(left)

    assert [frame["type"] for frame in world.frames("b")] == ["events"]


def test_of_the_api_and_delivery_only_the_one_that_ended_a_subscription_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("bob", "b", "C")
    left = world.leave("C", "bob")
    by_the_api: list[str] = []
    transact = world.repository.transact

    def overtaken(writes: Sequence[Write]) -> None:
        monkeypatch.setattr(world.repository, "transact", transact)
        by_the_api.extend(world.connections.remove_user("C", "bob"))
        transact(writes)

    monkeypatch.setattr(world.repository, "transact", overtaken)

    world.deliver(left)

    assert by_the_api == ["b"]
    assert [frame["type"] for frame in world.frames("b")] == ["events"]


def test_who_was_removed_while_another_channel_was_read_gets_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "C")
    left = world.leave("C", "bob")
    gather = AudienceService.gather

    def gather_slowly(*args: Any) -> Audience:
        audience = gather(*args)
        world.connections.remove_user("C", "bob")
        time.sleep(0.5)
        return audience

    monkeypatch.setattr(AudienceService, "gather", gather_slowly)

    world.deliver(left)

    assert world.frames("b") == []
    assert world.seqs("a") == [1]


def test_the_end_of_a_deleted_channels_subscriptions_is_left_to_the_api(world: World) -> None:
    world.connect("alice", "a", "C")

    world.deliver(world.say("C"), world.delete_channel("C"))

    assert [frame["type"] for frame in world.frames("a")] == ["events"]
    assert len(world.connections.subscriptions("C")) == 1


def test_what_the_api_left_of_a_deleted_channel_is_ended_once_10_s_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C")
    world.connect("bob", "b", "D")
    world.deliver(world.delete_channel("C"))
    monkeypatch.setattr("workers_delivery.deletions.API_SECONDS", 0)

    world.deliver(world.say("D"))
    world.deliver(world.say("D"))

    assert world.frames("a")[1:] == [
        {"type": "unsubscribed", "channelId": "C", "reason": "deleted"}
    ]
    assert world.connections.subscriptions("C") == []


def test_who_is_removed_while_a_push_waits_gets_no_more_of_the_channel(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect("alice", "a", "C", "D")
    world.connect("bob", "b", "C")
    world.broadcaster.failing = {"a", "b"}
    revised: dict[str, Post] = {}
    send = world.broadcaster.send

    def send_with_removal(*args: object, **kwargs: object) -> object:
        revalidate = kwargs["revalidate"]
        world.leave("C", "alice")
        world.connections.remove_user("C", "alice")
        revised.update(revalidate(frozenset({"a", "b"})))  # type: ignore[operator]  # a callable
        return send(*args, **kwargs)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(world.broadcaster, "send", send_with_removal)

    world.deliver(world.say("C"), world.say("D"))

    assert set(revised) == {"a", "b"}
    (frame,) = revised["a"].frames
    assert [event["channelId"] for event in json.loads(frame)["events"]] == ["D"]


def test_a_parked_range_is_read_from_the_log_and_delivered(world: World) -> None:
    world.connect("alice", "a", "C")
    for _ in range(250):
        world.say("C")

    delivery = world.delivery.redeliver(
        ParkedRange(channel_id="C", from_seq=3, to_seq=240, reason="unavailable")
    )

    assert delivery.delivered == 1
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
    assert world.broadcaster.calls == [[]]


def test_frames_never_pass_the_gateways_limit(world: World) -> None:
    world.connect("alice", "a", "C")

    world.deliver(*[world.say("C", "🦊" * 16_000) for _ in range(5)])

    assert all(
        len(frame) <= frame_builders.MAX_FRAME_BYTES for frame in world.broadcaster.frames["a"]
    )
    assert world.seqs("a") == [1, 2, 3, 4, 5]
