import time
from collections.abc import Iterable

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.faults import FailingRepository, Failure
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Table
from commons.dynamodb.exceptions import (
    StorageBusyError,
    StorageUnavailableError,
    StorageUnreachableError,
)
from commons.realtime.broadcaster import Outcome, Post, Revalidate
from commons.records.connection import Connection, Subscription
from commons.schemas.caller import Caller
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.connections import ConnectionsService

FRAME = b'{"type":"typing"}'


@pytest.fixture
def connections(repository: InMemoryRepository) -> ConnectionsService:
    return ConnectionsService(repository)


def connect(
    connections: ConnectionsService,
    user_id: str,
    connection_id: str,
    *,
    subscribed: bool = True,
    connected_seconds_ago: int = 60,
) -> Connection:
    connections.repository.put(
        Table.CHANNELS, {**keys.member_key("C", user_id), "user_id": user_id, "role": "member"}
    )
    moment = int(time.time())
    return connections.register(
        connection_id,
        Caller(user_id=user_id, expires_at=moment + 3_600),
        connected_at=(moment - connected_seconds_ago) * 1_000,
        channels=["C"] if subscribed else [],
    )


def test_a_frame_goes_to_every_live_subscription_but_those_of_the_users_left_out(
    repository: InMemoryRepository, connections: ConnectionsService
) -> None:
    for user_id, connection_id in [("alice", "a1"), ("alice", "a2"), ("bob", "b1"), ("eve", "e1")]:
        connect(connections, user_id, connection_id)
    replaying = connect(connections, "bob", "b2", subscribed=False)
    connections.subscribe(replaying, "C", state="replaying")
    broadcaster = InMemoryBroadcaster()

    outcome = ChannelBroadcastService(repository, broadcaster=broadcaster).send(
        "C", FRAME, except_users=frozenset({"alice"})
    )

    assert outcome is not None
    assert outcome.delivered == 2
    assert broadcaster.frames == {"b1": [FRAME], "e1": [FRAME]}
    assert all(post.connected_at > 0 for post in broadcaster.calls[0])


@pytest.mark.parametrize("kind", [StorageBusyError, StorageUnreachableError])
def test_where_storage_does_not_say_who_listens_nothing_is_raised(
    repository: InMemoryRepository, kind: type[StorageUnavailableError]
) -> None:
    storage = FailingRepository(repository, Failure(1, kind))
    broadcaster = InMemoryBroadcaster()

    assert ChannelBroadcastService(storage, broadcaster=broadcaster).send("C", FRAME) is None
    assert broadcaster.calls == []


def test_where_storage_does_not_let_forget_who_is_gone_nothing_is_raised(
    repository: InMemoryRepository, connections: ConnectionsService
) -> None:
    connect(connections, "alice", "a1")
    storage = FailingRepository(repository, Failure(2))
    broadcaster = InMemoryBroadcaster()
    broadcaster.gone = {"a1"}

    outcome = ChannelBroadcastService(storage, broadcaster=broadcaster).send("C", FRAME)

    assert outcome is not None
    assert outcome.gone == {"a1"}


def test_connections_that_are_gone_are_forgotten(
    repository: InMemoryRepository, connections: ConnectionsService
) -> None:
    connect(connections, "alice", "a1")
    connect(connections, "bob", "b1")

    broadcaster = InMemoryBroadcaster()
    broadcaster.gone = {"b1"}

    ChannelBroadcastService(repository, broadcaster=broadcaster).send("C", FRAME)

    assert [row.connection_id for row in connections.subscriptions("C")] == ["a1"]
    assert connections.find("b1") is None


def test_a_connection_gone_within_10_s_of_connecting_is_not_forgotten(
    repository: InMemoryRepository, connections: ConnectionsService
) -> None:
    connect(connections, "alice", "a1", connected_seconds_ago=5)
    broadcaster = InMemoryBroadcaster()
    broadcaster.gone = {"a1"}
    broadcasts = ChannelBroadcastService(repository, broadcaster=broadcaster)

    broadcasts.send("C", FRAME)
    broadcasts.send_to_connections(lambda: frozenset({"a1"}), FRAME)

    assert connections.find("a1") is not None


def test_a_frame_reaches_connections_that_are_no_longer_subscribed(
    repository: InMemoryRepository,
) -> None:
    broadcaster = InMemoryBroadcaster()

    broadcasts = ChannelBroadcastService(repository, broadcaster=broadcaster)
    broadcasts.send_to_connections(lambda: frozenset({"x"}), FRAME)

    assert broadcaster.frames == {"x": [FRAME]}


def test_who_is_removed_once_the_subscriptions_are_read_hears_nothing_a_second_later(
    repository: InMemoryRepository, connections: ConnectionsService
) -> None:
    budgets: list[float] = []

    class Timed(InMemoryBroadcaster):
        def send(
            self,
            posts: Iterable[Post],
            *,
            budget_seconds: float = 10.0,
            revalidate: Revalidate | None = None,
        ) -> Outcome:
            budgets.append(budget_seconds)
            return super().send(posts, budget_seconds=budget_seconds, revalidate=revalidate)

    class Slow:
        forget = connections.forget

        def subscriptions(self, channel_id: str) -> list[Subscription]:
            time.sleep(0.2)
            return connections.subscriptions(channel_id)

    connect(connections, "alice", "a1")

    ChannelBroadcastService(repository, broadcaster=Timed(), connections=Slow()).send("C", FRAME)

    assert 0.4 < budgets[0] <= 0.55
