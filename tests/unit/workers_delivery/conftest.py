import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Item, Table, Update
from commons.schemas.caller import Caller
from commons.schemas.event import (
    ChannelDeletedData,
    Event,
    EventData,
    MemberLeftData,
    MessageCreatedData,
    Sender,
)
from commons.services.connections import ConnectionsService
from commons.services.event_log import Draft, EventLogService
from workers_delivery.services.delivery import Delivery, DeliveryService


def now_ms() -> int:
    return int(time.time() * 1_000)


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    seconds: float = 1_000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class World:
    """Channels with members, connections and a log, and the service that delivers to them."""

    repository: InMemoryRepository
    broadcaster: InMemoryBroadcaster
    connections: ConnectionsService
    event_log: EventLogService
    delivery: DeliveryService
    clock: Clock

    def connect(
        self,
        user_id: str,
        connection_id: str,
        *channels: str,
        connected_seconds_ago: int = 60,
        expires_in: int = 3_600,
    ) -> None:
        for channel_id in channels:
            self.join(channel_id, user_id)
        self.connections.register(
            connection_id,
            Caller(user_id=user_id, expires_at=int(time.time()) + expires_in),
            connected_at=now_ms() - connected_seconds_ago * 1_000,
            channels=channels,
        )

    def join(self, channel_id: str, user_id: str) -> None:
        row: Item = {**keys.member_key(channel_id, user_id), "user_id": user_id, "role": "member"}
        self.repository.put(Table.CHANNELS, row)

    def leave(self, channel_id: str, user_id: str) -> Event:
        event = self.append(channel_id, MemberLeftData(user_id=user_id))
        self.repository.delete(Table.CHANNELS, keys.member_key(channel_id, user_id))
        return event

    def replay_and_go_live(
        self, channel_id: str, user_id: str, connection_id: str, *, live_after: int, live_for: int
    ) -> None:
        """What `subscribe` with `after` leaves behind, `live_for` seconds ago."""
        self.set_subscription(
            channel_id,
            user_id,
            connection_id,
            {
                "state": "live",
                "live_after": live_after,
                "live_since": now_ms() - live_for * 1_000,
            },
        )

    def set_subscription(
        self, channel_id: str, user_id: str, connection_id: str, values: Mapping[str, object]
    ) -> None:
        self.repository.update(
            Table.CONNECTIONS,
            keys.subscription_key(channel_id, user_id, connection_id),
            Update(set=values),
        )

    def say(self, channel_id: str, text: str = "hello") -> Event:
        return self.append(channel_id, MessageCreatedData(text=text))

    def delete_channel(self, channel_id: str) -> Event:
        return self.append(channel_id, ChannelDeletedData())

    def append(self, channel_id: str, data: EventData) -> Event:
        sender = Sender(id="writer", kind="user")
        return self.event_log.append(channel_id, lambda: Draft(sender=sender, data=data))

    def deliver(self, *events: Event) -> Delivery:
        by_channel: dict[str, dict[int, Event]] = {}
        for event in events:
            by_channel.setdefault(event.channel_id, {})[event.seq] = event
        return self.delivery.deliver(by_channel)

    def frames(self, connection_id: str) -> list[dict[str, object]]:
        return [json.loads(frame) for frame in self.broadcaster.frames[connection_id]]

    def received(self, connection_id: str) -> list[tuple[str, int]]:
        """Channel and number of each event that the connection was sent, in order."""
        return [
            (event["channelId"], event["seq"])
            for frame in self.broadcaster.frames[connection_id]
            for event in json.loads(frame).get("events", [])
        ]

    def seqs(self, connection_id: str) -> list[int]:
        return [seq for _, seq in self.received(connection_id)]


@pytest.fixture
def broadcaster() -> InMemoryBroadcaster:
    return InMemoryBroadcaster()


@pytest.fixture
def world(repository: InMemoryRepository, broadcaster: InMemoryBroadcaster) -> World:
    clock = Clock()
    return World(
        repository=repository,
        broadcaster=broadcaster,
        connections=ConnectionsService(repository),
        event_log=EventLogService(repository),
        delivery=DeliveryService(
            repository, broadcaster=broadcaster, last_frames_seconds=0, clock=clock
        ),
        clock=clock,
    )
