"""Rooms that have grown: their subscriptions lie in shards, and every reader looks into each."""

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Page, Query, Table
from commons.records.connection import Connection, Subscription
from commons.services.connections import ConnectionsService
from commons.services.removals import MAX_ENTRIES, RemovalsService
from websocket_session.services.renewal import RenewalService

from .conftest import CHANNEL, Clock, Join, caller, minutes_ago, partition, traces


@pytest.fixture
def grown(connections: ConnectionsService, join: Join) -> list[Connection]:
    """A room of 4 shards; the first of its 40 connections came before it had grown."""
    join("alice", CHANNEL)
    opened = [connections.register("c0", caller(), connected_at=minutes_ago(1), channels=[CHANNEL])]
    assert connections.grow(CHANNEL, shards=1, to=4) == 4
    later = ConnectionsService(connections.repository)  # another worker's memory
    for number in range(1, 40):
        join(f"user-{number:02}", CHANNEL)
        opened.append(
            later.register(
                f"c{number}",
                caller(f"user-{number:02}"),
                connected_at=minutes_ago(1),
                channels=[CHANNEL],
            )
        )
    return opened


def ids(rows: list[Subscription]) -> set[str]:
    return {row.connection_id for row in rows}


def test_who_came_before_stays_where_he_is_and_who_comes_later_is_spread(
    connections: ConnectionsService, repository: InMemoryRepository, grown: list[Connection]
) -> None:
    by_shard = [ids(connections.shard(CHANNEL, shard)) for shard in range(4)]

    assert "c0" in by_shard[0]
    assert all(len(some) > 3 for some in by_shard)
    assert set.union(*by_shard) == {f"c{number}" for number in range(40)}
    assert len(partition(repository, f"{CHANNEL}#3")) == len(by_shard[3])


def test_every_reader_sees_every_shard(
    connections: ConnectionsService, grown: list[Connection]
) -> None:
    everybody = {connection.connection_id for connection in grown}

    assert ids(connections.subscriptions(CHANNEL)) == everybody
    walked = list(connections.walk(CHANNEL, page=3))
    assert ids(walked) == everybody
    assert [row.user_id for row in walked] == sorted(row.user_id for row in walked)
    later = connections.walk(CHANNEL, page=3, past_user="user-20")
    assert [row.user_id for row in later] == [f"user-{number}" for number in range(21, 40)]
    assert connections.connections_of(CHANNEL, "user-07") == {"c7"}


def test_a_room_that_has_not_grown_is_one_query(
    connections: ConnectionsService,
    repository: InMemoryRepository,
    join: Join,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    join("alice", CHANNEL)
    connections.register("c1", caller(), connected_at=minutes_ago(1), channels=[CHANNEL])
    asked: list[str] = []
    query = repository.query

    def noting(each: Query) -> Page:
        asked.append(each.partition)
        return query(each)

    monkeypatch.setattr(repository, "query", noting)

    assert len(connections.subscriptions(CHANNEL)) == 1
    assert asked == [CHANNEL]


def test_what_a_connection_has_in_a_grown_room_goes_with_it(
    connections: ConnectionsService, repository: InMemoryRepository, grown: list[Connection]
) -> None:
    for connection in grown[1:9]:
        connections.forget(connection.connection_id)
        assert traces(repository, connection.connection_id, connection.user_id) == []

    assert ids(connections.room(CHANNEL)) == {"c0", *(f"c{number}" for number in range(9, 40))}


def test_in_a_grown_room_subscriptions_begin_again_and_end_where_they_are(
    connections: ConnectionsService, grown: list[Connection]
) -> None:
    for connection in grown[:9]:
        current = connections.require(connection.connection_id)
        connections.subscribe(current, CHANNEL)
        connections.subscribe(current, CHANNEL, state="replaying", after=2)
    assert len(connections.room(CHANNEL)) == 40
    for connection in grown[:9]:
        connections.unsubscribe(connections.require(connection.connection_id), CHANNEL)
        assert connections.require(connection.connection_id).channels == frozenset()
    assert len(connections.room(CHANNEL)) == 31


def test_a_renewed_connection_lives_on_in_every_shard(
    connections: ConnectionsService, grown: list[Connection]
) -> None:
    for connection in grown[:9]:
        later = caller(connection.user_id, seconds=7_200)
        renewal = RenewalService(
            connections.repository,
            verify_token=lambda _, later=later: later,  # type: ignore[misc]  # bound early
            connections=connections,
        )
        renewal.renew(connection, "token")
    renewed = {row.connection_id: row.expires_at for row in connections.room(CHANNEL)}
    assert min(renewed[f"c{number}"] for number in range(9)) > max(
        renewed[f"c{number}"] for number in range(9, 40)
    )


def test_removing_a_user_and_a_channel_reaches_every_shard(
    connections: ConnectionsService, repository: InMemoryRepository, grown: list[Connection]
) -> None:
    for number in range(1, 9):
        repository.delete(Table.CHANNELS, keys.member_key(CHANNEL, f"user-{number:02}"))
        assert connections.remove_user(CHANNEL, f"user-{number:02}") == [f"c{number}"]

    assert len(connections.remove_channel(CHANNEL)) == 32
    assert [partition(repository, f"{CHANNEL}{s}") for s in ("", "#1", "#2", "#3")] == [[]] * 4


def test_of_two_who_make_a_room_grow_one_does(connections: ConnectionsService) -> None:
    assert connections.grow(CHANNEL, shards=1, to=4) == 4
    assert connections.grow(CHANNEL, shards=1, to=4) == 4
    assert connections.grow(CHANNEL, shards=4, to=16) == 16
    assert connections.grow(CHANNEL, shards=4, to=16) == 16
    assert connections.shards_of(CHANNEL) == 16


def test_an_older_release_passes_the_row_of_the_shards_over(
    connections: ConnectionsService, repository: InMemoryRepository
) -> None:
    connections.grow(CHANNEL, shards=1, to=4)
    (row,) = repository.iterate(Query(table=Table.CONNECTIONS, partition=CHANNEL))
    assert Subscription.model_validate(row).state == "replaying"
    assert Subscription.model_validate(row).expires_at == 0


class TestRemovals:
    @pytest.mark.usefixtures("grown")
    def test_whoever_was_removed_after_a_look_is_named(
        self, connections: ConnectionsService, clock: Clock
    ) -> None:
        removals = RemovalsService(connections.repository, clock=clock)
        row = connections.shard(CHANNEL, 0)[0]
        began = clock()
        before = removals.since(CHANNEL, began)
        connections.repository.delete(Table.CHANNELS, keys.member_key(CHANNEL, row.user_id))
        connections.remove_user(CHANNEL, row.user_id)
        after = removals.since(CHANNEL, began)

        assert before is not None
        assert before.removed == frozenset()
        assert after is not None
        assert after.removed == {row.identity}

    @pytest.mark.usefixtures("grown")
    def test_a_deleted_channel_says_so(self, connections: ConnectionsService, clock: Clock) -> None:
        connections.remove_channel(CHANNEL)
        found = RemovalsService(connections.repository, clock=clock).since(CHANNEL, clock())
        assert found is not None
        assert found.closed

    @pytest.mark.usefixtures("grown")
    def test_where_older_entries_were_dropped_the_room_is_to_be_read_anew(
        self, connections: ConnectionsService, clock: Clock
    ) -> None:
        removals = RemovalsService(connections.repository, clock=clock)
        row = connections.shard(CHANNEL, 0)[0]
        began = clock()
        clock.advance(seconds=1)
        for number in range(MAX_ENTRIES + 1):
            another = row.model_copy(update={"subscription_id": f"s{number}"})
            removals.note(CHANNEL, [another])

        assert removals.since(CHANNEL, began) is None
        clock.advance(seconds=6)
        later = removals.since(CHANNEL, clock())
        assert later is not None
        assert later.removed == {f"s{MAX_ENTRIES}"}
