import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.queue_records import queue_record
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Item, Table, Update
from commons.dynamodb.exceptions import StorageUnreachableError
from commons.schemas.base import BaseSchema
from commons.schemas.caller import Caller
from commons.schemas.event import (
    ChannelDeletedData,
    Event,
    EventData,
    MemberLeftData,
    MessageCreatedData,
    Sender,
)
from commons.schemas.lambda_events import QueueRecord
from commons.services.connections import ConnectionsService
from commons.services.event_log import Draft, EventLogService
from workers_delivery.composition import Services, build_services
from workers_delivery.schemas import CatchUp, Departed, ParkedRange, RoomRange
from workers_delivery.services.delivery import Delivery


def now_ms() -> int:
    return int(time.time() * 1_000)


@dataclass
class Clock:
    """Seconds that pass when a test says so, on top of those that do."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.seconds

    def epoch(self) -> int:
        return now_ms() + int(self.seconds * 1_000)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Queues:
    """What the worker sent to itself, or parked.

    Attributes:
        is_down: they take nothing.
        finished: ids of messages that were let go of before the batch was through.
        retried: ids of those that are to show again soon.
    """

    parked: list[ParkedRange] = field(default_factory=list)
    ranges: list[RoomRange] = field(default_factory=list)
    catch_ups: list[CatchUp] = field(default_factory=list)
    departed: list[Departed] = field(default_factory=list)
    is_down: bool = False
    finished: list[str] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)

    def park(self, parked: ParkedRange) -> None:
        self._take(self.parked, [parked])

    def send_ranges(self, ranges: Sequence[RoomRange]) -> None:
        self._take(self.ranges, ranges)

    def send_catch_up(self, subscriptions: Sequence[CatchUp]) -> None:
        self._take(self.catch_ups, subscriptions)

    def send_departed(self, users: Sequence[Departed]) -> None:
        self._take(self.departed, users)

    def finish(self, records: Sequence[QueueRecord]) -> None:
        self.finished += [record["messageId"] for record in records]

    def retry(self, records: Sequence[QueueRecord]) -> None:
        self.retried += [record["messageId"] for record in records]

    def _take[Message](self, queue: list[Message], messages: Sequence[Message]) -> None:
        if self.is_down:
            raise StorageUnreachableError
        queue.extend(messages)


@dataclass
class World:
    """Channels with members, connections and a log, and the service that delivers to them."""

    repository: InMemoryRepository
    broadcaster: InMemoryBroadcaster
    connections: ConnectionsService
    event_log: EventLogService
    services: Services
    queues: Queues
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
        row: Item = {
            **keys.member_key(channel_id, user_id),
            "channel_id": channel_id,
            "user_id": user_id,
            "role": "member",
            "joined_at": "2026-01-01T00:00:00.000Z",
        }
        self.repository.put(Table.CHANNELS, row)
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
        self.repository.put(Table.CHANNELS, meta)

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
        return self.services.delivery.deliver(by_channel)

    def run_errands(self, limit: int = 100) -> list[str]:
        """Serves what was sent to the queues, until they are empty; returns what failed."""
        failed: list[str] = []
        for _ in range(limit):
            queues = self.queues
            errands = [*queues.ranges, *queues.catch_ups, *queues.departed]
            queues.ranges, queues.catch_ups, queues.departed = [], [], []
            if not errands:
                return failed
            failed += self.take(*errands)
        raise AssertionError("there is always something more to do")

    def take(self, *errands: BaseSchema) -> list[str]:
        return self.services.batches.take_queue(
            [queue_record(str(number), each.to_json()) for number, each in enumerate(errands)]
        )

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

    def first_seen(self, connection_id: str) -> list[int]:
        """As `seqs`, without repeats."""
        return list(dict.fromkeys(self.seqs(connection_id)))


@pytest.fixture
def broadcaster() -> InMemoryBroadcaster:
    return InMemoryBroadcaster()


@pytest.fixture
def queues() -> Queues:
    return Queues()


@pytest.fixture
def world(
    repository: InMemoryRepository,
    broadcaster: InMemoryBroadcaster,
    queues: Queues,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    monkeypatch.setattr("commons.services.subscriptions_ending.time.sleep", lambda _: None)
    clock = Clock()
    return World(
        repository=repository,
        broadcaster=broadcaster,
        connections=ConnectionsService(repository),
        event_log=EventLogService(repository),
        services=build_services(
            repository,
            gateway=broadcaster,
            patient=broadcaster,
            queues=queues,
            clock=clock,
            epoch=clock.epoch,
        ),
        queues=queues,
        clock=clock,
    )
