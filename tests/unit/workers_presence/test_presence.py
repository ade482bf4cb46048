import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster

from commons import keys
from commons.dal import Table, Update
from workers_presence.schemas import Check
from workers_presence.services.rooms import MAX_LISTENERS

from .conftest import Room


def test_the_first_subscription_is_announced_and_the_second_is_not(room: Room) -> None:
    room.take(room.connect("alice", "a1"))
    room.take(room.connect("alice", "a2"))

    assert room.told() == [("alice", True)]


def test_two_connections_in_one_batch_are_one_announcement(room: Room) -> None:
    room.take(room.connect("alice", "a1"), room.connect("alice", "a2"))

    assert room.told() == [("alice", True)]


def test_the_same_record_twice_is_announced_once(room: Room) -> None:
    record = room.connect("alice", "a1")

    room.take(record)
    room.take(record)

    assert room.told() == [("alice", True)]


def test_several_who_come_in_one_batch_cost_one_send(
    room: Room, broadcaster: InMemoryBroadcaster
) -> None:
    broadcaster.calls.clear()

    room.take(room.connect("alice", "a1"), room.connect("bob", "b1"))

    assert sorted(room.told()) == [("alice", True), ("bob", True)]
    assert len(broadcaster.calls) == 1


def test_who_left_is_announced_five_seconds_later(room: Room) -> None:
    room.take(room.connect("alice", "a1"))
    room.take(room.disconnect("alice", "a1"))
    assert room.told() == [("alice", True)]

    room.after(4)
    assert room.told() == []

    room.after(1)
    assert room.told() == [("alice", False)]


def test_who_has_another_connection_has_not_left(room: Room) -> None:
    room.take(room.connect("alice", "a1"), room.connect("alice", "a2"))
    room.take(room.disconnect("alice", "a1"))
    room.told()

    room.after(5)

    assert room.told() == []


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
    room.after(5)

    assert room.told() == []


def test_who_came_back_and_left_again_is_gone_five_seconds_after_the_last_time(room: Room) -> None:
    room.take(room.connect("alice", "a1"))
    room.take(room.disconnect("alice", "a1"))
    room.after(3)
    room.take(room.connect("alice", "a2"))
    room.take(room.disconnect("alice", "a2"))
    room.told()

    room.after(2)
    assert room.told() == []

    room.after(3)
    assert room.told() == [("alice", False)]


def test_a_departure_handed_over_twice_is_announced_once(room: Room) -> None:
    room.take(room.connect("alice", "a1"))
    room.take(room.disconnect("alice", "a1"))
    (departure,) = room.queue.waiting
    room.told()

    room.hand_over(departure)
    room.hand_over(departure)

    assert room.told() == [("alice", False)]


def test_a_batch_replayed_after_the_departure_was_announced_never_says_online(room: Room) -> None:
    came = room.connect("alice", "a1")
    room.take(came)
    left = room.disconnect("alice", "a1")
    room.take(left)
    room.after(5)
    room.told()

    room.take(came)
    room.take(left)
    room.after(5)

    assert ("alice", True) not in room.told()


def test_who_came_and_went_before_anybody_was_told_is_offline_for_who_saw_them_in_an_ack(
    room: Room,
) -> None:
    room.take(room.connect("alice", "a1"), room.disconnect("alice", "a1"))
    room.after(5)

    assert room.told() == [("alice", False)]


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

    room.after(5)

    assert room.told() == [("ali", False)]


def test_what_the_queue_does_not_take_has_to_come_again(room: Room) -> None:
    room.take(room.connect("alice", "a1"))
    left = room.disconnect("alice", "a1")
    room.queue.refuses = True

    assert room.take(left) == [left["dynamodb"]["SequenceNumber"]]

    room.queue.refuses = False
    assert room.take(left) == []
    room.after(5)
    assert room.told() == [("alice", True), ("alice", False)]


def test_the_row_of_an_older_release_is_told_and_taken_over(room: Room) -> None:
    key = keys.presence_key("C", "alice")
    room.repository.put(Table.CONNECTIONS, {**key, "ttl": 1})

    room.take(room.connect("alice", "a1"))

    assert room.told() == [("alice", True)]
    assert "ttl" not in room.repository.get(Table.CONNECTIONS, key)


def test_an_older_release_departure_that_waits_is_read() -> None:
    check = Check.model_validate_json('{"channelId": "C", "userId": "alice", "mark": "7"}')

    assert check == Check(channel_id="C", user_id="alice", mark="7")


class TestALargeChannel:
    @pytest.fixture
    def room(self, room: Room) -> Room:
        for number in range(MAX_LISTENERS - 2):
            room.connect(f"user-{number}", f"conn-{number}")
        return room

    def test_is_told_up_to_two_hundred_connections(self, room: Room) -> None:
        room.take(room.connect("alice", "a1"))

        assert room.told() == [("alice", True)]

    def test_is_not_told_above_them(self, room: Room) -> None:
        room.take(room.connect("alice", "a1"))
        room.told()

        room.take(room.connect("bob", "b1"))
        room.take(room.disconnect("alice", "a1"), room.connect("dora", "d1"))
        room.after(5)

        assert room.told() == []

    def test_is_told_who_leaves_once_it_is_small_again(self, room: Room) -> None:
        room.take(room.connect("alice", "a1"), room.connect("bob", "b1"))
        assert room.told() == []
        room.connections.forget("conn-0")

        room.take(room.disconnect("bob", "b1"))
        room.after(5)

        assert room.told() == [("bob", False)]
