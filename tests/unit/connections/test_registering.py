import pytest
from tests.doubles.repository import InMemoryRepository

from commons.errors import (
    ChannelNotFoundError,
    InvalidRequestError,
    TooManyRequestsError,
    UnauthenticatedError,
)
from commons.records.connection import CONNECTION_SECONDS, MAX_CONNECTIONS
from commons.services.connections import ConnectionsService

from .conftest import CHANNEL, Clock, Join, Probe, caller, minutes_ago, partition, traces


def fill(connections: ConnectionsService, count: int, *, minutes: float = 5) -> None:
    for number in range(count):
        connections.register(f"old-{number}", caller(), connected_at=minutes_ago(minutes))


def test_a_registered_connection_knows_its_user(connections: ConnectionsService) -> None:
    alice = caller()
    connections.register("c1", alice, connected_at=minutes_ago(0))
    found = connections.find("c1")
    assert found is not None
    assert (found.user_id, found.name, found.token_expires_at) == (
        alice.user_id,
        alice.name,
        alice.expires_at,
    )
    assert found.channels == frozenset()


def test_a_connection_that_was_never_registered_is_not_found(
    connections: ConnectionsService,
) -> None:
    assert connections.find("c1") is None


def test_it_is_subscribed_to_the_channels_it_names(
    connections: ConnectionsService, join: Join
) -> None:
    join("alice", CHANNEL)
    connections.register("c1", caller(), connected_at=minutes_ago(0), channels=[CHANNEL, CHANNEL])
    (subscription,) = connections.subscriptions(CHANNEL)
    assert (subscription.connection_id, subscription.user_id) == ("c1", "alice")
    assert (subscription.state, subscription.live_after) == ("live", None)
    assert subscription.live_since is not None


def test_it_may_name_50_channels(connections: ConnectionsService, join: Join) -> None:
    channels = [f"channel-{number}" for number in range(50)]
    for channel in channels:
        join("alice", channel)
    connections.register("c1", caller(), connected_at=minutes_ago(0), channels=channels)
    assert all(len(connections.subscriptions(channel)) == 1 for channel in channels)
    found = connections.find("c1")
    assert found is not None
    assert found.channels == frozenset(channels)


def test_51_channels_are_refused_and_leave_nothing(
    connections: ConnectionsService, repository: InMemoryRepository, join: Join
) -> None:
    channels = [f"channel-{number}" for number in range(51)]
    for channel in channels:
        join("alice", channel)
    with pytest.raises(InvalidRequestError):
        connections.register("c1", caller(), connected_at=minutes_ago(0), channels=channels)
    assert traces(repository, "c1", "alice") == []


@pytest.mark.parametrize("foreign", [0, 30, 49])
def test_a_channel_the_user_is_no_member_of_refuses_all_and_leaves_nothing(
    connections: ConnectionsService, repository: InMemoryRepository, join: Join, foreign: int
) -> None:
    channels = [f"channel-{number}" for number in range(50)]
    for number, channel in enumerate(channels):
        join("bob" if number == foreign else "alice", channel)
    with pytest.raises(ChannelNotFoundError):
        connections.register("c1", caller(), connected_at=minutes_ago(0), channels=channels)
    assert traces(repository, "c1", "alice") == []


def test_an_expired_token_opens_nothing(
    connections: ConnectionsService, repository: InMemoryRepository
) -> None:
    with pytest.raises(UnauthenticatedError):
        connections.register("c1", caller(seconds=0), connected_at=minutes_ago(0))
    assert traces(repository, "c1", "alice") == []


def test_a_connection_ends_with_its_token(connections: ConnectionsService) -> None:
    alice = caller(seconds=600)
    connection = connections.register("c1", alice, connected_at=minutes_ago(0))
    assert connection.expires_at == alice.expires_at


def test_a_connection_counts_for_nobody_three_hours_after_connecting(
    connections: ConnectionsService, join: Join
) -> None:
    join("alice", CHANNEL)
    week = caller(seconds=7 * 86_400)
    young = connections.register("c1", week, connected_at=minutes_ago(179), channels=[CHANNEL])
    assert young.expires_at == young.connected_at // 1000 + CONNECTION_SECONDS
    assert connections.find("c1") is not None
    with pytest.raises(UnauthenticatedError):
        connections.register("c2", week, connected_at=minutes_ago(181), channels=[CHANNEL])


def test_an_expired_connection_is_not_found_and_its_subscription_does_not_count(
    connections: ConnectionsService, join: Join, clock: Clock
) -> None:
    join("alice", CHANNEL)
    connections.register("c1", caller(seconds=60), connected_at=minutes_ago(0), channels=[CHANNEL])
    clock.advance(seconds=61)
    assert connections.find("c1") is None
    assert connections.subscriptions(CHANNEL) == []
    assert len(connections.subscriptions(CHANNEL, include_expired=True)) == 1


def test_the_201st_open_connection_is_refused_and_leaves_nothing(
    connections: ConnectionsService, repository: InMemoryRepository, join: Join
) -> None:
    join("alice", CHANNEL)
    fill(connections, MAX_CONNECTIONS)
    with pytest.raises(TooManyRequestsError):
        connections.register("c1", caller(), connected_at=minutes_ago(0), channels=[CHANNEL])
    assert traces(repository, "c1", "alice") == []
    assert connections.subscriptions(CHANNEL) == []


def test_another_users_connections_do_not_count(connections: ConnectionsService) -> None:
    fill(connections, MAX_CONNECTIONS)
    connections.register("c1", caller("bob"), connected_at=minutes_ago(0))
    assert connections.find("c1") is not None


def test_connections_that_are_gone_are_found_and_removed_first(
    connections: ConnectionsService, repository: InMemoryRepository, probe: Probe
) -> None:
    fill(connections, MAX_CONNECTIONS)
    probe.gone = {"old-3", "old-77"}
    connections.register("c1", caller(), connected_at=minutes_ago(0))
    assert connections.find("c1") is not None
    assert connections.find("old-3") is None
    assert len(partition(repository, "user#alice")) == MAX_CONNECTIONS - 1


def test_connections_below_the_cap_are_not_looked_at(
    connections: ConnectionsService, probe: Probe
) -> None:
    fill(connections, MAX_CONNECTIONS)
    assert probe.asked == []


def test_a_connection_whose_handshake_may_still_run_is_not_taken_for_gone(
    connections: ConnectionsService, probe: Probe
) -> None:
    fill(connections, MAX_CONNECTIONS, minutes=0.1)
    probe.gone = {f"old-{number}" for number in range(MAX_CONNECTIONS)}
    with pytest.raises(TooManyRequestsError):
        connections.register("c1", caller(), connected_at=minutes_ago(0))
    assert probe.asked == []


def test_expired_connections_do_not_count(connections: ConnectionsService, clock: Clock) -> None:
    for number in range(MAX_CONNECTIONS):
        connections.register(f"old-{number}", caller(seconds=60), connected_at=minutes_ago(0))
    clock.advance(seconds=61)
    connections.register("c1", caller(), connected_at=minutes_ago(0))
