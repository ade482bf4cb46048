import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Item, Table
from commons.schemas.caller import Caller
from commons.services.connections import ConnectionsService
from workers_presence.records import Change
from workers_presence.schemas import Departure
from workers_presence.services.presence import PresenceService


@dataclass
class WaitingDepartures:
    """A queue whose time passes when a test says so."""

    waiting: list[Departure] = field(default_factory=list)
    refuses: bool = False

    def postpone(self, departures: Sequence[Departure]) -> list[Departure]:
        if self.refuses:
            return list(departures)
        self.waiting.extend(departures)
        return []


@dataclass
class Room:
    """A channel that carol watches, and the service that tells her who is there."""

    repository: InMemoryRepository
    broadcaster: InMemoryBroadcaster
    departures: WaitingDepartures
    connections: ConnectionsService
    presence: PresenceService
    numbers: int = 0

    def connect(self, user_id: str, connection_id: str, *, expires_in: int = 3_600) -> Change:
        """Subscribes; returns what the stream says of it."""
        row: Item = {**keys.member_key("C", user_id), "user_id": user_id, "role": "member"}
        self.repository.put(Table.CHANNELS, row)
        moment = int(time.time())
        self.connections.register(
            connection_id,
            Caller(user_id=user_id, expires_at=moment + expires_in),
            connected_at=(moment - 60) * 1_000,
            channels=["C"],
        )
        return Change("C", user_id, self.number(), arrived=True)

    def disconnect(self, user_id: str, connection_id: str) -> Change:
        self.connections.forget(connection_id)
        number = self.number()
        return Change("C", user_id, number, mark=number)

    def number(self) -> str:
        self.numbers += 1
        return str(self.numbers)

    def take(self, *changes: Change) -> list[str]:
        return self.presence.take_changes(changes)

    def after_five_seconds(self) -> None:
        waiting, self.departures.waiting = self.departures.waiting, []
        for departure in waiting:
            self.presence.confirm(departure)

    def told(self) -> list[tuple[str, bool]]:
        """Who carol was told came or went, since she was last asked."""
        frames = [json.loads(frame) for frame in self.broadcaster.frames.pop("carol", [])]
        assert all((frame["type"], frame["channelId"]) == ("presence", "C") for frame in frames)
        return [(frame["userId"], frame["online"]) for frame in frames]


@pytest.fixture
def room(repository: InMemoryRepository) -> Room:
    broadcaster, departures = InMemoryBroadcaster(), WaitingDepartures()
    room = Room(
        repository=repository,
        broadcaster=broadcaster,
        departures=departures,
        connections=ConnectionsService(repository),
        presence=PresenceService(repository, broadcaster=broadcaster, departures=departures),
    )
    room.take(room.connect("carol", "carol"))
    room.told()
    return room
