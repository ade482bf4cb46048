import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import Item, Query, Table
from commons.schemas.caller import Caller
from commons.services.connections import ConnectionsService

CHANNEL = "channel-1"

type Join = Callable[[str, str], None]


@dataclass
class Probe:
    """Sockets that a test says are closed."""

    gone: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def is_open(self, connection_id: str) -> bool:
        self.asked.append(connection_id)
        return connection_id not in self.gone


def caller(user_id: str = "alice", *, seconds: int = 3600) -> Caller:
    return Caller(user_id=user_id, name=user_id.title(), expires_at=int(time.time()) + seconds)


def minutes_ago(minutes: float) -> int:
    return epoch_milliseconds() - int(minutes * 60_000)


def partition(repository: InMemoryRepository, name: str) -> list[Item]:
    return list(repository.iterate(Query(table=Table.CONNECTIONS, partition=name)))


def traces(repository: InMemoryRepository, connection_id: str, user_id: str) -> list[Item]:
    """Every row that one connection may have."""
    rows = partition(repository, f"conn#{connection_id}")
    rows += [row for row in partition(repository, f"user#{user_id}") if row["sk"] == connection_id]
    for number in range(60):
        rows += [
            row
            for row in partition(repository, f"channel-{number}")
            if row["connection_id"] == connection_id
        ]
    return rows


@pytest.fixture
def probe() -> Probe:
    return Probe()


@dataclass
class Clock:
    """Epoch milliseconds that pass when a test says so."""

    milliseconds: int = field(default_factory=epoch_milliseconds)

    def __call__(self) -> int:
        return self.milliseconds

    def advance(self, *, seconds: float) -> None:
        self.milliseconds += int(seconds * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connections(repository: InMemoryRepository, probe: Probe, clock: Clock) -> ConnectionsService:
    return ConnectionsService(repository, probe=probe, clock=clock)


@pytest.fixture
def join(repository: InMemoryRepository) -> Join:
    """Makes a user a member of a channel, as the members service leaves the row."""

    def _join(user_id: str, channel_id: str = CHANNEL) -> None:
        row: Item = {
            **keys.member_key(channel_id, user_id),
            "channel_id": channel_id,
            "user_id": user_id,
            "role": "member",
            "joined_at": "2026-01-01T00:00:00.000Z",
        }
        repository.put(Table.CHANNELS, row)

    return _join


@pytest.fixture
def leave(repository: InMemoryRepository) -> Join:
    """Takes the member row away, as the members service does before it ends subscriptions."""

    def _leave(user_id: str, channel_id: str = CHANNEL) -> None:
        repository.delete(Table.CHANNELS, keys.member_key(channel_id, user_id))

    return _leave
