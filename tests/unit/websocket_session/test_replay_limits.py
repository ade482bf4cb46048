import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Item, Table
from commons.errors import ChannelNotFoundError, TooManyRequestsError
from commons.ids import new_channel_id
from commons.realtime.broadcaster import Outcome, Post, Revalidate
from commons.records.connection import Connection
from commons.schemas.caller import Caller
from commons.schemas.message import PostMessage
from commons.services.connections import ConnectionsService
from commons.services.messages import MessagesService
from commons.services.replay import MAX_BYTES, MAX_EVENTS
from websocket_session.composition import build_services
from websocket_session.services.subscribing import SubscribingService
from websocket_session.settings import SessionSettings

ALICE = Caller(user_id="alice", expires_at=2**40)

SETTINGS = SessionSettings(
    websocket_callback_url="http://127.0.0.1:9",
    jwt_issuer="https://issuer.example",
    jwt_audience="audience",
    jwt_jwks_url="http://127.0.0.1:9/jwks.json",
)


@dataclass
class Socket:
    """A connection that takes every frame, perhaps after a while."""

    frames: list[dict[str, Any]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    asks_again: bool = False
    meanwhile: Callable[[], None] | None = None
    """What others do while the first frame is sent."""

    def send(
        self,
        posts: Iterable[Post],
        *,
        budget_seconds: float = 10,  # noqa: ARG002  # nothing fails here
        revalidate: Revalidate | None = None,
    ) -> Outcome:
        waiting = {post.connection_id: post for post in posts}
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        if self.asks_again and revalidate is not None:
            waiting = dict(revalidate(frozenset(waiting)))
        for post in waiting.values():
            self.frames += [json.loads(frame) for frame in post.frames]
            self.sizes += [len(frame) for frame in post.frames]
        return Outcome(delivered=len(waiting))

    def delete_connection(self, connection_id: str) -> bool:  # noqa: ARG002  # nobody expires
        return True

    @property
    def seqs(self) -> list[int]:
        return [each["seq"] for frame in self.frames for each in frame.get("events", [])]

    @property
    def ack(self) -> dict[str, Any]:
        return self.frames[-1]


@pytest.fixture
def channel_id(repository: InMemoryRepository) -> str:
    channel_id = new_channel_id()
    meta: Item = {
        **keys.channel_key(channel_id),
        "channel_id": channel_id,
        "name": "A channel",
        "created_at": "2026-01-01T00:00:00.000Z",
        "created_by": "alice",
        "agent": {"mode": "off", "model_id": "m"},
        "member_count": 1,
        "owner_count": 1,
    }
    member: Item = {
        **keys.member_key(channel_id, "alice"),
        "channel_id": channel_id,
        "user_id": "alice",
        "role": "owner",
        "joined_at": "2026-01-01T00:00:00.000Z",
    }
    repository.put(Table.CHANNELS, meta)
    repository.put(Table.CHANNELS, member)
    return channel_id


@pytest.fixture
def connections(repository: InMemoryRepository) -> ConnectionsService:
    return ConnectionsService(repository)


@pytest.fixture
def connection(connections: ConnectionsService) -> Connection:
    return connections.register("c1", ALICE, connected_at=int(time.time() * 1000) - 60_000)


@pytest.fixture
def socket() -> Socket:
    return Socket()


def replay_over(repository: InMemoryRepository, socket: Socket) -> SubscribingService:
    return build_services(SETTINGS, repository=repository, broadcaster=socket).subscribing


@pytest.fixture
def replay(repository: InMemoryRepository, socket: Socket) -> SubscribingService:
    return replay_over(repository, socket)


def append(repository: InMemoryRepository, channel_id: str, count: int, text: str = "x") -> None:
    messages = MessagesService(repository)
    for _ in range(count):
        messages.post(channel_id, ALICE, PostMessage(text=text))


def test_1000_events_are_replayed(
    repository: InMemoryRepository,
    connection: Connection,
    channel_id: str,
    replay: SubscribingService,
    socket: Socket,
) -> None:
    append(repository, channel_id, MAX_EVENTS)
    replay.subscribe(connection, channel_id, after=0, request_id=None)
    assert socket.seqs == list(range(1, 1_001))
    assert (socket.ack["through"], socket.ack["hasMore"]) == (1_000, False)


def test_what_comes_while_the_past_is_sent_comes_before_the_ack_which_knows_of_it(
    repository: InMemoryRepository,
    connection: Connection,
    channel_id: str,
    replay: SubscribingService,
    socket: Socket,
) -> None:
    append(repository, channel_id, 2)
    socket.meanwhile = lambda: append(repository, channel_id, 3)

    replay.subscribe(connection, channel_id, after=0, request_id=None)

    assert socket.seqs == [1, 2, 3, 4, 5]
    assert socket.ack["type"] == "ack"
    assert (socket.ack["through"], socket.ack["hasMore"]) == (5, False)


def test_of_1001_events_the_last_is_left_to_sync_and_what_follows_comes_live(
    repository: InMemoryRepository,
    connection: Connection,
    channel_id: str,
    replay: SubscribingService,
    socket: Socket,
) -> None:
    append(repository, channel_id, MAX_EVENTS + 1)
    replay.subscribe(connection, channel_id, after=0, request_id=None)
    assert socket.seqs == list(range(1, 1_001))
    assert (socket.ack["through"], socket.ack["hasMore"]) == (1_000, True)
    (row,) = ConnectionsService(repository).subscriptions(channel_id)
    assert (row.state, row.live_after) == ("live", None)


def test_a_replay_ends_at_1_mb_in_frames_of_at_most_128_kb(
    repository: InMemoryRepository,
    connection: Connection,
    channel_id: str,
    replay: SubscribingService,
    socket: Socket,
) -> None:
    append(repository, channel_id, 40, "é" * 16_000)
    replay.subscribe(connection, channel_id, after=0, request_id=None)
    assert socket.seqs == list(range(1, len(socket.seqs) + 1))
    assert max(socket.sizes) <= 131_072
    assert MAX_BYTES - 40_000 < sum(socket.sizes[:-1]) <= MAX_BYTES + 1_000
    assert (socket.ack["through"], socket.ack["hasMore"]) == (len(socket.seqs), True)


def test_a_replay_that_fails_late_leaves_the_subscription_that_a_later_one_acknowledged(
    repository: InMemoryRepository,
    connection: Connection,
    connections: ConnectionsService,
    channel_id: str,
) -> None:
    append(repository, channel_id, 1)
    later = Socket()

    class StuckSocket(Socket):
        def send(
            self,
            posts: Iterable[Post],
            *,
            budget_seconds: float = 10,  # noqa: ARG002  # as the gateway's are
            revalidate: Revalidate | None = None,  # noqa: ARG002  # as the gateway's are
        ) -> Outcome:
            replay_over(repository, later).subscribe(
                connections.require("c1"), channel_id, after=0, request_id="later"
            )
            return Outcome(failed=frozenset(post.connection_id for post in posts))

    with pytest.raises(TooManyRequestsError):
        replay_over(repository, StuckSocket()).subscribe(
            connection, channel_id, after=0, request_id="earlier"
        )
    assert later.ack["requestId"] == "later"
    assert [row.connection_id for row in connections.subscriptions(channel_id)] == ["c1"]
    assert connections.require("c1").channels == {channel_id}


def test_a_member_removed_while_frames_wait_gets_none_of_them(
    repository: InMemoryRepository,
    connection: Connection,
    connections: ConnectionsService,
    channel_id: str,
) -> None:
    append(repository, channel_id, 1)

    class RemovingSocket(Socket):
        def send(
            self,
            posts: Iterable[Post],
            *,
            budget_seconds: float = 10,
            revalidate: Revalidate | None = None,
        ) -> Outcome:
            repository.delete(Table.CHANNELS, keys.member_key(channel_id, "alice"))
            return super().send(posts, budget_seconds=budget_seconds, revalidate=revalidate)

    removing = RemovingSocket(asks_again=True)
    with pytest.raises(ChannelNotFoundError):
        replay_over(repository, removing).subscribe(
            connection, channel_id, after=0, request_id=None
        )
    assert removing.frames == []
    assert connections.subscriptions(channel_id, include_replaying=True) == []


def test_a_plain_subscribe_during_a_replay_is_live_once_acknowledged_whatever_the_replay_ends_in(
    repository: InMemoryRepository,
    connection: Connection,
    connections: ConnectionsService,
    channel_id: str,
) -> None:
    append(repository, channel_id, 3)
    later = Socket()

    class StuckSocket(Socket):
        def send(
            self,
            posts: Iterable[Post],
            *,
            budget_seconds: float = 10,  # noqa: ARG002  # as the gateway's are
            revalidate: Revalidate | None = None,  # noqa: ARG002  # as the gateway's are
        ) -> Outcome:
            replay_over(repository, later).subscribe(
                connections.require("c1"), channel_id, after=None, request_id="plain"
            )
            return Outcome(failed=frozenset(post.connection_id for post in posts))

    with pytest.raises(TooManyRequestsError):
        replay_over(repository, StuckSocket()).subscribe(
            connection, channel_id, after=1, request_id="with after"
        )

    assert later.seqs == [2, 3]
    assert (later.ack["requestId"], later.ack.get("through")) == ("plain", None)
    assert [row.connection_id for row in connections.subscriptions(channel_id)] == ["c1"]


def test_a_plain_subscribe_after_a_replay_that_died_is_live_at_once(
    repository: InMemoryRepository,
    connection: Connection,
    connections: ConnectionsService,
    channel_id: str,
) -> None:
    append(repository, channel_id, 3)
    connections.subscribe(connection, channel_id, state="replaying", after=1)  # and no more of it
    socket = Socket()

    replay_over(repository, socket).subscribe(
        connections.require("c1"), channel_id, after=None, request_id="plain"
    )

    assert socket.seqs == [2, 3]
    assert socket.ack["requestId"] == "plain"
    assert [row.connection_id for row in connections.subscriptions(channel_id)] == ["c1"]
