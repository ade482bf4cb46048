import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.clock import epoch_seconds
from commons.dal import Item, Key, Query, Table, Update
from commons.dynamodb.exceptions import StorageBusyError
from workers_presence.services.presence import ROW_SECONDS

from .conftest import Room


def test_the_first_subscription_is_announced_and_the_second_is_not(room: Room) -> None:
    room.take(room.connect("alice", "a1"))
    room.take(room.connect("alice", "a2"))

    assert room.told() == [("alice", True)]


def test_two_connections_in_one_batch_are_one_announcement(room: Room) -> None:
    room.take(room.connect("alice", "a1"), room.connect("alice", "a2"))

    assert room.told() == [("alice", True)]


def test_the_same_record_twice_is_announced_once(room: Room) -> None:
    change = room.connect("alice", "a1")

    room.take(change)
    room.take(change)

    assert room.told() == [("alice", True)]


def test_several_who_come_in_one_batch_cost_one_send(room: Room) -> None:
    room.broadcaster.calls.clear()

    room.take(room.connect("alice", "a1"), room.connect("bob", "b1"))

    assert sorted(room.told()) == [("alice", True), ("bob", True)]
    assert len(room.broadcaster.calls) == 1


def test_who_left_is_announced_five_seconds_later(room: Room) -> None:
    room.take(room.connect("alice", "a1"))
    room.take(room.disconnect("alice", "a1"))
    assert room.told() == [("alice", True)]

    room.after_five_seconds()

    assert room.told() == [("alice", False)]


def test_who_has_another_connection_has_not_left(room: Room) -> None:
    room.take(room.connect("alice", "a1"), room.connect("alice", "a2"))
    room.take(room.disconnect("alice", "a1"))

    assert room.departures.waiting == []


@pytest.mark.parametrize("new_first", [True, False])
def test_swapping_connections_within_five_seconds_says_nothing(room: Room, new_first: bool) -> None:
    room.take(room.connect("alice", "a1"))
    room.told()

    if new_first:
        room.take(room.connect("alice", "a2"))
        room.take(room.disconnect("alice", "a1"))
    else:
        room.take(room.disconnect("alice", "a1"))
        room.take(room.connect("alice", "a2"))
    room.after_five_seconds()

    assert room.told() == []


def test_who_came_back_and_left_again_is_gone_five_seconds_after_the_last_time(room: Room) -> None:
    room.take(room.connect("alice", "a1"))
    room.take(room.disconnect("alice", "a1"))
    first = room.departures.waiting.pop()
    room.take(room.connect("alice", "a2"))
    room.take(room.disconnect("alice", "a2"))
    room.told()

    room.presence.confirm(first)
    assert room.told() == []

    room.after_five_seconds()
    assert room.told() == [("alice", False)]


def test_a_departure_handed_over_twice_is_announced_once(room: Room) -> None:
    room.take(room.connect("alice", "a1"))
    room.take(room.disconnect("alice", "a1"))
    (departure,) = room.departures.waiting
    room.told()

    room.presence.confirm(departure)
    room.presence.confirm(departure)

    assert room.told() == [("alice", False)]


def test_a_batch_replayed_after_the_departure_was_announced_says_nothing(room: Room) -> None:
    came, left = room.connect("alice", "a1"), room.disconnect("alice", "a1")
    room.take(came)
    room.take(left)
    room.after_five_seconds()
    room.told()

    room.take(came)
    room.take(left)
    room.after_five_seconds()

    assert room.told() == []


def test_who_came_and_went_before_the_batch_was_taken_was_never_there(room: Room) -> None:
    room.take(room.connect("alice", "a1"), room.disconnect("alice", "a1"))
    room.after_five_seconds()

    assert room.told() == []


def test_who_comes_back_while_the_departure_is_announced_is_online_in_the_end(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.take(room.connect("alice", "a1"))
    room.take(room.disconnect("alice", "a1"))
    room.told()
    delete = room.repository.delete

    def delete_and_come_back(table: Table, key: Key, **kwargs: object) -> Item | None:
        deleted = delete(table, key, **kwargs)  # type: ignore[arg-type]  # as it was called
        if key == keys.presence_key("C", "alice"):
            room.take(room.connect("alice", "a2"))
        return deleted

    monkeypatch.setattr(room.repository, "delete", delete_and_come_back)
    room.after_five_seconds()

    assert room.told()[-1] == ("alice", True)


def test_an_expired_or_replaying_subscription_is_nobodys_presence(room: Room) -> None:
    expired, replaying = room.connect("alice", "a1"), room.connect("bob", "b1")
    for row, update in [
        (("C", "alice", "a1"), Update(set={"expires_at": 1_000})),
        (("C", "bob", "b1"), Update(set={"state": "replaying"})),
    ]:
        room.repository.update(Table.CONNECTIONS, keys.subscription_key(*row), update)

    room.take(expired, replaying)

    assert room.told() == []


def test_another_users_connection_does_not_count(room: Room) -> None:
    room.take(room.connect("ali", "a1"), room.connect("alice", "b1"))
    room.take(room.disconnect("ali", "a1"))
    room.told()

    room.after_five_seconds()

    assert room.told() == [("ali", False)]


def test_what_the_queue_does_not_take_has_to_come_again(room: Room) -> None:
    room.take(room.connect("alice", "a1"))
    left = room.disconnect("alice", "a1")
    room.departures.refuses = True

    assert room.take(left) == [left.sequence_number]

    room.departures.refuses = False
    assert room.take(left) == []
    room.after_five_seconds()
    assert room.told() == [("alice", True), ("alice", False)]


def test_what_storage_does_not_take_has_to_come_again_and_the_rest_is_announced(
    room: Room, repository: InMemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = room.connect("alice", "a1"), room.connect("bob", "b1")
    iterate = repository.iterate

    def busy(query: Query) -> object:
        if query.sort is not None and getattr(query.sort, "prefix", "").startswith("alice"):
            raise StorageBusyError
        return iterate(query)

    monkeypatch.setattr(repository, "iterate", busy)

    assert room.take(alice, bob) == [alice.sequence_number]
    assert room.told() == [("bob", True)]


def test_the_row_of_somebody_who_is_always_here_is_renewed(room: Room) -> None:
    key = keys.presence_key("C", "alice")
    room.take(room.connect("alice", "a1"))
    soon = epoch_seconds() + ROW_SECONDS // 3
    room.repository.update(Table.CONNECTIONS, key, Update(set={"ttl": soon}))

    room.take(room.connect("alice", "a2"))

    ttl = room.repository.get(Table.CONNECTIONS, key)["ttl"]
    assert isinstance(ttl, int)
    assert ttl > soon
    assert room.told() == [("alice", True)]
