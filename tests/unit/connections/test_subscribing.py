from collections.abc import Sequence

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Item, Key, Table, Update, Write
from commons.errors import ChannelNotFoundError, ConflictError
from commons.records.connection import Connection, SubscriptionState
from commons.services.connections import ConnectionEndedError, ConnectionsService

from .conftest import CHANNEL, Clock, Join, caller, minutes_ago, partition, traces


@pytest.fixture
def connection(connections: ConnectionsService, join: Join) -> Connection:
    join("alice", CHANNEL)
    return connections.register("c1", caller(), connected_at=minutes_ago(1))


def reread(connections: ConnectionsService) -> Connection:
    found = connections.find("c1")
    assert found is not None
    return found


def test_a_subscription_lives_as_long_as_its_connection(
    connections: ConnectionsService, connection: Connection
) -> None:
    connections.subscribe(connection, CHANNEL)
    (subscription,) = connections.subscriptions(CHANNEL)
    assert subscription.connected_at == connection.connected_at
    assert subscription.expires_at == connection.expires_at
    assert reread(connections).channels == {CHANNEL}


def test_subscribing_twice_is_one_subscription(
    connections: ConnectionsService, repository: InMemoryRepository, connection: Connection
) -> None:
    connections.subscribe(connection, CHANNEL)
    connections.subscribe(connection, CHANNEL)
    connections.subscribe(reread(connections), CHANNEL)
    assert len(connections.subscriptions(CHANNEL)) == 1
    assert repository.get(Table.CONNECTIONS, keys.connection_key("c1"))["channel_count"] == 1


def test_who_is_no_member_is_refused_and_nothing_is_stored(
    connections: ConnectionsService, connection: Connection
) -> None:
    with pytest.raises(ChannelNotFoundError):
        connections.subscribe(connection, "channel-2")
    assert connections.subscriptions("channel-2") == []
    assert reread(connections).channels == frozenset()


def test_who_was_removed_is_refused_though_subscribed_before(
    connections: ConnectionsService, repository: InMemoryRepository, connection: Connection
) -> None:
    connections.subscribe(connection, CHANNEL)
    repository.delete(Table.CHANNELS, keys.member_key(CHANNEL, "alice"))
    with pytest.raises(ChannelNotFoundError):
        connections.subscribe(reread(connections), CHANNEL)


def test_a_deleted_channel_takes_no_subscription_though_its_member_rows_are_still_there(
    connections: ConnectionsService, repository: InMemoryRepository, connection: Connection
) -> None:
    repository.put(Table.CHANNELS, {**keys.channel_key(CHANNEL), "deleted": True})
    with pytest.raises(ChannelNotFoundError):
        connections.subscribe(connection, CHANNEL)
    with pytest.raises(ChannelNotFoundError):
        connections.register("c2", caller(), connected_at=minutes_ago(1), channels=[CHANNEL])
    assert connections.subscriptions(CHANNEL) == []


def test_a_connection_that_was_forgotten_meanwhile_cannot_subscribe(
    connections: ConnectionsService, repository: InMemoryRepository, connection: Connection
) -> None:
    connections.forget("c1")
    with pytest.raises(ConnectionEndedError):
        connections.subscribe(connection, CHANNEL)
    assert traces(repository, "c1", "alice") == []


def test_the_51st_channel_is_refused(
    connections: ConnectionsService, connection: Connection, join: Join
) -> None:
    for number in range(2, 53):
        join("alice", f"channel-{number}")
    for number in range(2, 52):
        connections.subscribe(connection, f"channel-{number}")
    with pytest.raises(ConflictError):
        connections.subscribe(connection, "channel-52")
    connections.subscribe(reread(connections), "channel-51")
    connections.unsubscribe(connection, "channel-7")
    connections.subscribe(connection, "channel-52")
    assert len(reread(connections).channels) == 50


def test_unsubscribing_ends_it(connections: ConnectionsService, connection: Connection) -> None:
    connections.subscribe(connection, CHANNEL)
    connections.unsubscribe(reread(connections), CHANNEL)
    connections.unsubscribe(reread(connections), CHANNEL)
    assert connections.subscriptions(CHANNEL) == []
    assert reread(connections).channels == frozenset()


def test_delivery_passes_over_who_is_being_sent_the_past(
    connections: ConnectionsService, connection: Connection
) -> None:
    replaying = connections.subscribe(connection, CHANNEL, state="replaying")
    assert connections.subscriptions(CHANNEL) == []
    assert len(connections.subscriptions(CHANNEL, include_replaying=True)) == 1
    connections.go_live(replaying, live_after=7)
    (live,) = connections.subscriptions(CHANNEL)
    assert (live.state, live.live_after) == ("live", 7)
    assert live.live_since is not None


def test_a_subscription_removed_during_its_replay_does_not_go_live(
    connections: ConnectionsService, connection: Connection, leave: Join
) -> None:
    replaying = connections.subscribe(connection, CHANNEL, state="replaying")
    leave("alice", CHANNEL)
    connections.remove_user(CHANNEL, "alice")
    with pytest.raises(ChannelNotFoundError):
        connections.go_live(replaying, live_after=7)
    assert connections.subscriptions(CHANNEL) == []


def test_a_forgotten_connection_leaves_nothing(
    connections: ConnectionsService, repository: InMemoryRepository, connection: Connection
) -> None:
    connections.subscribe(connection, CHANNEL)
    connections.forget("c1")
    connections.forget("c1")
    assert traces(repository, "c1", "alice") == []
    assert connections.subscriptions(CHANNEL, include_expired=True) == []


def test_a_subscription_added_while_its_connection_is_forgotten_goes_too(
    repository: InMemoryRepository, connections: ConnectionsService, connection: Connection
) -> None:
    class Racing(InMemoryRepository):
        def find(self, table: Table, key: Key, *, consistent: bool = False) -> Item | None:
            item = super().find(table, key, consistent=consistent)
            connections.subscribe(connection, CHANNEL)
            return item

    ConnectionsService(Racing(repository.tables)).forget("c1")
    assert traces(repository, "c1", "alice") == []
    assert connections.subscriptions(CHANNEL, include_expired=True) == []


def test_a_connection_that_is_being_erased_takes_no_subscription(
    repository: InMemoryRepository, connections: ConnectionsService, connection: Connection
) -> None:
    refused: list[type[Exception]] = []

    class Racing(InMemoryRepository):
        def batch_delete(self, table: Table, keys: Sequence[Key]) -> None:
            try:
                connections.subscribe(connection, CHANNEL)
            except ConnectionEndedError as error:
                refused.append(type(error))
            super().batch_delete(table, keys)

    ConnectionsService(Racing(repository.tables)).forget("c1")
    assert refused == [ConnectionEndedError]
    assert traces(repository, "c1", "alice") == []
    assert connections.subscriptions(CHANNEL, include_expired=True) == []


def test_removing_a_user_ends_all_of_the_users_subscriptions_to_the_channel(
    connections: ConnectionsService, connection: Connection, join: Join, leave: Join
) -> None:
    join("alice2", CHANNEL)
    connections.register("c2", caller(), connected_at=minutes_ago(1), channels=[CHANNEL])
    connections.register("c3", caller("alice2"), connected_at=minutes_ago(1), channels=[CHANNEL])
    connections.subscribe(connection, CHANNEL, state="replaying")
    leave("alice", CHANNEL)
    assert sorted(connections.remove_user(CHANNEL, "alice")) == ["c1", "c2"]
    assert [each.connection_id for each in connections.subscriptions(CHANNEL)] == ["c3"]
    assert reread(connections).channels == frozenset()
    assert connections.remove_user(CHANNEL, "alice") == []


def test_removing_a_channel_ends_every_subscription_to_it(
    connections: ConnectionsService, repository: InMemoryRepository, join: Join
) -> None:
    for number in range(120):
        join(f"user-{number}", CHANNEL)
        connections.register(
            f"c{number}",
            caller(f"user-{number}"),
            connected_at=minutes_ago(1),
            channels=[CHANNEL],
        )
    repository.delete(Table.CONNECTIONS, keys.connection_key("c60"))
    assert len(connections.remove_channel(CHANNEL)) == 120
    assert partition(repository, CHANNEL) == []
    assert reread(connections).channels == frozenset()


def renewed(connections: ConnectionsService, repository: InMemoryRepository) -> int:
    """As `authenticate` leaves a connection that was subscribed to nothing."""
    later = reread(connections).expires_at + 600
    repository.update(
        Table.CONNECTIONS, keys.connection_key("c1"), Update(set={"expires_at": later})
    )
    return later


@pytest.mark.parametrize("state", ["live", "replaying"])
@pytest.mark.parametrize("subscribed_before", [False, True])
def test_a_subscription_made_while_its_connection_is_renewed_ends_with_the_new_token(
    repository: InMemoryRepository,
    connections: ConnectionsService,
    connection: Connection,
    state: SubscriptionState,
    subscribed_before: bool,
) -> None:
    if subscribed_before:
        connections.subscribe(connection, CHANNEL, state="replaying")
        connections.unsubscribe(reread(connections), CHANNEL)
    later = renewed(connections, repository)
    connections.subscribe(connection, CHANNEL, state=state)
    (row,) = connections.subscriptions(CHANNEL, include_replaying=True)
    assert row.expires_at == later


def test_going_live_keeps_an_expiry_that_was_moved_during_the_replay(
    repository: InMemoryRepository, connections: ConnectionsService, connection: Connection
) -> None:
    replaying = connections.subscribe(connection, CHANNEL, state="replaying")
    key = keys.subscription_key(CHANNEL, "alice", "c1")
    later = replaying.expires_at + 600
    repository.update(Table.CONNECTIONS, key, Update(set={"expires_at": later, "ttl": later}))
    connections.go_live(replaying, live_after=7)
    (row,) = connections.subscriptions(CHANNEL)
    assert (row.expires_at, row.live_after) == (later, 7)


@pytest.mark.parametrize("stale", [False, True])
def test_a_plain_subscribe_takes_over_a_replay_from_where_that_began(
    connections: ConnectionsService, connection: Connection, stale: bool
) -> None:
    first = connections.subscribe(connection, CHANNEL, state="replaying", after=3)
    taken_over = connections.subscribe(connection if stale else reread(connections), CHANNEL)
    assert (taken_over.state, taken_over.live_after) == ("replaying", 3)
    assert connections.end([first]) == []
    connections.go_live(taken_over, live_after=7)
    (row,) = connections.subscriptions(CHANNEL)
    assert row.live_after == 7


def test_a_plain_subscribe_right_after_a_replay_keeps_where_it_ended(
    connections: ConnectionsService, connection: Connection
) -> None:
    replaying = connections.subscribe(connection, CHANNEL, state="replaying")
    connections.go_live(replaying, live_after=7)
    connections.subscribe(reread(connections), CHANNEL)
    (row,) = connections.subscriptions(CHANNEL)
    assert row.live_after == 7


def test_a_plain_subscribe_is_live_where_an_older_release_left_a_replay(
    connections: ConnectionsService, connection: Connection
) -> None:
    connections.subscribe(connection, CHANNEL, state="replaying")
    connections.subscribe(reread(connections), CHANNEL)
    (row,) = connections.subscriptions(CHANNEL)
    assert row.state == "live"


def test_a_subscription_put_back_is_brought_up_from_what_its_connection_holds(
    connections: ConnectionsService, connection: Connection
) -> None:
    connections.subscribe(connection, CHANNEL)
    (live,) = connections.subscriptions(CHANNEL)
    put_back = connections.replay_from(live, 4)
    assert put_back is not None
    assert (put_back.state, put_back.live_after, put_back.live_since) == ("replaying", 4, None)
    assert put_back.subscription_id == live.subscription_id
    assert connections.subscriptions(CHANNEL) == []


def test_only_a_subscription_that_is_as_it_was_read_is_put_back(
    connections: ConnectionsService, connection: Connection, clock: Clock
) -> None:
    connections.subscribe(connection, CHANNEL)
    (live,) = connections.subscriptions(CHANNEL)
    first = connections.replay_from(live, 4)
    assert first is not None
    assert connections.replay_from(live, 5) is None
    clock.advance(seconds=1)
    second = connections.replay_from(first, 6)
    assert second is not None
    assert connections.replay_from(first, 7) is None
    connections.go_live(second, live_after=9)
    clock.advance(seconds=1)
    assert connections.replay_from(second, 7) is None
    connections.end([second])
    assert connections.replay_from(second, 7) is None


def test_once_its_tail_has_arrived_a_subscription_is_due_only_what_is_new(
    connections: ConnectionsService, connection: Connection
) -> None:
    replaying = connections.subscribe(connection, CHANNEL, state="replaying", after=3)
    live = connections.go_live(replaying, live_after=7)
    assert live is not None
    connections.settle(live)
    (row,) = connections.subscriptions(CHANNEL)
    assert row.live_after is None
    assert row.live_since == live.live_since


def test_an_end_that_comes_late_leaves_the_subscription_that_began_meanwhile(
    connections: ConnectionsService, connection: Connection
) -> None:
    first = connections.subscribe(connection, CHANNEL, state="replaying")
    second = connections.subscribe(reread(connections), CHANNEL, state="replaying")
    assert connections.end([first]) == []
    connections.go_live(second, live_after=7)
    assert connections.end([first]) == []
    (row,) = connections.subscriptions(CHANNEL)
    assert row.subscription_id == second.subscription_id
    assert reread(connections).channels == {CHANNEL}


def test_an_end_that_comes_late_leaves_it_though_its_connection_was_forgotten(
    connections: ConnectionsService, repository: InMemoryRepository, connection: Connection
) -> None:
    first = connections.subscribe(connection, CHANNEL)
    connections.unsubscribe(reread(connections), CHANNEL)
    second = connections.subscribe(reread(connections), CHANNEL)
    repository.delete(Table.CONNECTIONS, keys.connection_key("c1"))
    assert connections.end([first]) == []
    assert connections.end([second]) == [second]


def test_a_row_of_an_older_release_is_ended_until_another_begins_in_its_place(
    connections: ConnectionsService, repository: InMemoryRepository, connection: Connection
) -> None:
    key = keys.subscription_key(CHANNEL, "alice", "c1")
    connections.subscribe(connection, CHANNEL)
    repository.update(Table.CONNECTIONS, key, Update(remove=["subscription_id"]))
    (old,) = connections.subscriptions(CHANNEL)
    connections.subscribe(reread(connections), CHANNEL, state="replaying")
    assert connections.end([old]) == []
    repository.update(Table.CONNECTIONS, key, Update(remove=["subscription_id"]))
    assert connections.end([old]) == [old]


def test_a_user_who_is_a_member_again_keeps_the_subscription(
    repository: InMemoryRepository,
    connections: ConnectionsService,
    connection: Connection,
    join: Join,
    leave: Join,
) -> None:
    connections.subscribe(connection, CHANNEL)
    leave("alice", CHANNEL)

    class BackMeanwhile(InMemoryRepository):
        def transact(self, writes: Sequence[Write]) -> None:
            join("alice", CHANNEL)
            connections.unsubscribe(reread(connections), CHANNEL)
            connections.subscribe(reread(connections), CHANNEL)
            super().transact(writes)

    assert ConnectionsService(BackMeanwhile(repository.tables)).remove_user(CHANNEL, "alice") == []
    assert connections.remove_user(CHANNEL, "alice") == []
    assert len(connections.subscriptions(CHANNEL)) == 1


def test_of_two_replays_the_later_one_decides_when_the_subscription_goes_live(
    connections: ConnectionsService, connection: Connection, clock: Clock
) -> None:
    first = connections.subscribe(connection, CHANNEL, state="replaying")
    clock.advance(seconds=0.1)
    second = connections.subscribe(reread(connections), CHANNEL, state="replaying")
    connections.go_live(first, live_after=7)
    assert connections.subscriptions(CHANNEL) == []
    connections.go_live(second, live_after=3)
    (row,) = connections.subscriptions(CHANNEL)
    assert row.live_after == 3


def test_only_who_removes_a_subscription_is_told_of_it(
    repository: InMemoryRepository,
    connections: ConnectionsService,
    connection: Connection,
    leave: Join,
) -> None:
    connections.subscribe(connection, CHANNEL)
    leave("alice", CHANNEL)
    others: list[str] = []

    class Overtaken(InMemoryRepository):
        def transact(self, writes: Sequence[Write]) -> None:
            if not others:
                others.extend(connections.remove_user(CHANNEL, "alice"))
            super().transact(writes)

    assert ConnectionsService(Overtaken(repository.tables)).remove_user(CHANNEL, "alice") == []
    assert others == ["c1"]


def test_a_connection_with_50_channels_subscribes_to_one_of_them_again_though_it_was_read_before(
    connections: ConnectionsService, connection: Connection, join: Join
) -> None:
    for number in range(2, 52):
        join("alice", f"channel-{number}")
        connections.subscribe(connection, f"channel-{number}")
    connections.subscribe(connection, "channel-51")
    assert len(reread(connections).channels) == 50
