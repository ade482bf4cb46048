from dataclasses import dataclass, field

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.faults import FailingRepository, Failure
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import IRepository, Item, Table
from commons.realtime import encoded_frames
from commons.schemas.caller import Caller
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.connections import ConnectionsService
from commons.services.subscriptions_ending import SubscriptionsEndingService

FAREWELL = encoded_frames.unsubscribed("C", "removed")


@dataclass
class Room:
    """A channel that bob listens to from `b1` and `b2`, and was removed from."""

    repository: InMemoryRepository
    broadcaster: InMemoryBroadcaster = field(default_factory=InMemoryBroadcaster)

    def __post_init__(self) -> None:
        self.connections = ConnectionsService(self.repository)
        self.join()
        for connection_id in ("b1", "b2"):
            self.connections.register(
                connection_id,
                Caller(user_id="bob", expires_at=2**40),
                connected_at=epoch_milliseconds() - 60_000,
                channels=["C"],
            )
        self.repository.delete(Table.CHANNELS, keys.member_key("C", "bob"))

    def join(self) -> None:
        row: Item = {**keys.member_key("C", "bob"), "user_id": "bob", "role": "member"}
        self.repository.put(Table.CHANNELS, row)

    def come_back(self, connection_id: str) -> None:
        self.join()
        self.connections.subscribe(self.connections.require(connection_id), "C")

    def ending(self, repository: IRepository | None = None) -> SubscriptionsEndingService:
        storage = repository or self.repository
        broadcasts = ChannelBroadcastService(storage, broadcaster=self.broadcaster)
        return SubscriptionsEndingService(storage, broadcasts=broadcasts, last_frames_seconds=0)


@pytest.fixture
def room(repository: InMemoryRepository) -> Room:
    return Room(repository)


def test_every_connection_of_who_was_removed_is_told(room: Room) -> None:
    room.ending().end_of_user("C", "bob")
    assert room.broadcaster.frames == {"b1": [FAREWELL], "b2": [FAREWELL]}
    assert room.connections.subscriptions("C") == []


def test_who_subscribed_again_before_the_last_frame_is_not_told(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "commons.services.subscriptions_ending.time.sleep", lambda _: room.come_back("b1")
    )
    room.ending().end_of_user("C", "bob")
    assert room.broadcaster.frames == {"b2": [FAREWELL]}
    assert [row.connection_id for row in room.connections.subscriptions("C")] == ["b1"]


def test_who_subscribed_again_while_the_last_frame_waits_is_not_told(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = room.broadcaster.send
    room.broadcaster.failing = {"b1", "b2"}
    looks: list[frozenset[str]] = []

    def send_late(*args: object, **kwargs: object) -> object:
        room.come_back("b1")
        revalidate = kwargs["revalidate"]
        looks.append(frozenset(revalidate(frozenset({"b1", "b2"}))))  # type: ignore[operator]  # a callable
        return send(*args, **kwargs)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(room.broadcaster, "send", send_late)
    room.ending().end_of_user("C", "bob")
    assert looks == [frozenset({"b2"})]


def test_who_is_a_member_again_before_the_end_stays_subscribed(room: Room) -> None:
    room.join()
    room.ending().end_of_user("C", "bob")
    assert room.broadcaster.frames == {}
    assert len(room.connections.subscriptions("C")) == 2


def test_where_storage_does_not_say_who_is_back_nobody_is_told_and_nothing_raised(
    room: Room,
) -> None:
    # The shards, the subscriptions, the member row, the removals, the transaction.
    calls_before = 5
    storage = FailingRepository(room.repository, Failure(calls_before + 1))
    room.ending(storage).end_of_user("C", "bob")
    assert room.broadcaster.frames == {}
    assert room.connections.subscriptions("C") == []
