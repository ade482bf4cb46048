import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import batched
from typing import Literal, cast

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.queue_records import queue_record
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import IRepository, Item, Table
from commons.dal.serialisation import serialize_item
from commons.realtime.broadcaster import IBroadcaster
from commons.schemas.caller import Caller
from commons.schemas.lambda_events import StreamChange, StreamRecord
from commons.services.connections import ConnectionsService
from workers_presence.composition import build_services
from workers_presence.schemas import Check
from workers_presence.settings import PresenceSettings

CHECKS_AT_ONCE = 10
"""The batch of the queue's mapping."""

SETTINGS = PresenceSettings(
    websocket_callback_url="http://127.0.0.1:9",
    departures_queue_url="http://127.0.0.1:9/presence",
)


@dataclass
class WaitingChecks:
    """A queue whose time passes when a test says so."""

    waiting: dict[Check, int] = field(default_factory=dict)
    refuses: bool = False

    def put(self, checks: Mapping[Check, int]) -> list[Check]:
        if self.refuses:
            return list(checks)
        self.waiting |= checks
        return []

    def due(self, within: int) -> list[Check]:
        due = [check for check, seconds in self.waiting.items() if seconds <= within]
        self.waiting = {
            check: seconds - within for check, seconds in self.waiting.items() if seconds > within
        }
        return due


@dataclass
class Clock:
    """Goes on by a millisecond each time that it is read."""

    moment: int = field(default_factory=epoch_milliseconds)

    def __call__(self) -> int:
        self.moment += 1
        return self.moment


@dataclass
class Room:
    """A channel that carol watches, and the worker that tells her who is there."""

    repository: IRepository
    broadcaster: IBroadcaster
    worker_storage: IRepository | None = None
    queue: WaitingChecks = field(default_factory=WaitingChecks)
    numbers: int = 0
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.connections = ConnectionsService(self.repository, clock=self.clock)
        self.services = build_services(
            SETTINGS,
            repository=self.worker_storage or self.repository,
            broadcaster=self.broadcaster,
            queue=self.queue,
            clock=self.clock,
        )

    def connect(
        self, user_id: str, connection_id: str, *channels: str, connected_ago: int = 60
    ) -> StreamRecord:
        """Subscribes; returns what the stream says of the first channel, by default `C`."""
        channels = channels or ("C",)
        for channel_id in channels:
            row: Item = {**keys.member_key(channel_id, user_id), "user_id": user_id}
            self.repository.put(Table.CHANNELS, {**row, "role": "member"})
        moment = self.clock() // 1_000
        self.connections.register(
            connection_id,
            Caller(user_id=user_id, expires_at=moment + 3_600),
            connected_at=(moment - connected_ago) * 1_000,
            channels=channels,
        )
        return self.record("INSERT", "NewImage", channels[0], user_id, connection_id)

    def disconnect(self, user_id: str, connection_id: str) -> StreamRecord:
        record = self.record("REMOVE", "OldImage", "C", user_id, connection_id)
        self.connections.forget(connection_id)
        return record

    def record(
        self,
        kind: Literal["INSERT", "REMOVE"],
        image: str,
        channel_id: str,
        user_id: str,
        connection_id: str,
    ) -> StreamRecord:
        self.numbers += 1
        key = keys.subscription_key(channel_id, user_id, connection_id)
        item = self.repository.get(Table.CONNECTIONS, key)
        change = {
            "Keys": serialize_item(dict(key)),
            "SequenceNumber": str(self.numbers),
            image: serialize_item(item),
        }
        return {
            "eventName": kind,
            "eventSource": "aws:dynamodb",
            "dynamodb": cast("StreamChange", change),
        }

    def take(self, *records: StreamRecord) -> list[str]:
        """What the stream hands over, and what the queue does at once."""
        failures = self.services.changes.take(records)
        self.after(0)
        return failures

    def after(self, seconds: int) -> list[str]:
        """The checks that are due by then, in batches; those that have to come again."""
        self.clock.moment += seconds * 1_000
        failures: list[str] = []
        for some in batched(self.queue.due(seconds), CHECKS_AT_ONCE):
            failures += self.hand_over(*some)
        return failures

    def hand_over(self, *checks: Check) -> list[str]:
        return self.services.checks.take(
            queue_record(str(number), check.to_json()) for number, check in enumerate(checks)
        )

    def told(self, connection_id: str = "carol") -> list[tuple[str, bool]]:
        """Who a connection was told came or went, since it was last asked."""
        assert isinstance(self.broadcaster, InMemoryBroadcaster)
        frames = [json.loads(frame) for frame in self.broadcaster.frames.pop(connection_id, [])]
        assert all((frame["type"], frame["channelId"]) == ("presence", "C") for frame in frames)
        return [(frame["userId"], frame["online"]) for frame in frames]


@pytest.fixture
def broadcaster() -> InMemoryBroadcaster:
    return InMemoryBroadcaster()


@pytest.fixture
def room(repository: InMemoryRepository, broadcaster: InMemoryBroadcaster) -> Room:
    room = Room(repository, broadcaster)
    room.take(room.connect("carol", "carol"))
    room.told()
    return room
