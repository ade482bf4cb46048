"""Connections that take nothing, and a crowd that comes back at once."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.repository import InMemoryRepository

from commons.dal import Table
from commons.realtime.broadcaster import Broadcaster

from .conftest import Room

CROWD = 100


@pytest.fixture
def endpoint() -> Iterator[str]:
    command = [sys.executable, "tests/bench/null_endpoint.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/bench"
        process.terminate()


def posts(endpoint: str) -> int:
    host = urlsplit(endpoint).netloc
    connection = HTTPConnection(host)
    connection.request("GET", "/stats")
    count: int = json.loads(connection.getresponse().read())["posts"]
    connection.close()
    return count


def test_of_a_hundred_who_come_back_at_once_each_listener_is_told_all(
    repository: InMemoryRepository, endpoint: str
) -> None:
    room = Room(repository, Broadcaster(endpoint))
    records = [room.connect(f"user-{n:03}", f"conn-{n:03}") for n in range(CROWD)]

    assert room.take(*records) == []

    assert room.queue.waiting == {}
    assert posts(endpoint) == CROWD * CROWD
    rows = [row for row in repository.all_items(Table.CONNECTIONS) if row.get("said")]
    assert len(rows) == CROWD
    assert not any("missed" in row for row in rows)


def test_the_stream_waits_for_no_listener(room: Room, broadcaster: InMemoryBroadcaster) -> None:
    broadcaster.calls.clear()

    room.services.changes.take([room.connect("alice", "a1")])

    assert broadcaster.calls == []


@pytest.fixture
def hanging(room: Room, broadcaster: InMemoryBroadcaster) -> Room:
    """Bob takes nothing while alice is announced."""
    room.take(room.connect("bob", "bob"))
    room.take(room.connect("dora", "dora"))
    broadcaster.failing.add("bob")
    broadcaster.frames.clear()
    room.take(room.connect("alice", "alice"))
    return room


def test_who_did_not_take_it_is_told_again_and_nobody_else(
    hanging: Room, broadcaster: InMemoryBroadcaster
) -> None:
    assert hanging.told("dora") == [("alice", True)]
    broadcaster.failing.clear()

    hanging.after(5)

    assert hanging.told("bob") == [("alice", True)]
    assert hanging.told("dora") == []


def test_who_was_not_reached_in_time_for_the_crowd_is_told_a_second_later(
    room: Room, broadcaster: InMemoryBroadcaster
) -> None:
    room.take(room.connect("bob", "bob"))
    room.told("bob")
    broadcaster.failing.add("bob")
    broadcaster.untried.add("bob")
    room.take(room.connect("alice", "alice"))
    broadcaster.failing.clear()

    room.after(1)

    assert room.told("bob") == [("alice", True)]


def test_who_takes_nothing_for_ten_seconds_is_closed(
    hanging: Room, broadcaster: InMemoryBroadcaster
) -> None:
    hanging.after(5)
    assert broadcaster.closed == []

    hanging.after(5)

    assert broadcaster.closed == ["bob"]
    assert hanging.queue.waiting == {}


def test_nobody_is_closed_while_the_api_serves_nobody(
    room: Room, broadcaster: InMemoryBroadcaster
) -> None:
    room.take(room.connect("bob", "bob"))
    room.told("bob")
    broadcaster.failing |= {"carol", "bob", "alice"}
    room.take(room.connect("alice", "alice"))

    for _ in range(12):
        room.after(60)
    assert broadcaster.closed == []
    broadcaster.failing.clear()
    room.after(60)

    assert room.told("bob") == [("alice", True)]


def test_who_is_removed_while_it_hangs_is_told_nothing(
    hanging: Room, broadcaster: InMemoryBroadcaster
) -> None:
    hanging.connections.forget("bob")
    broadcaster.failing.clear()

    hanging.after(5)

    assert hanging.told("bob") == []


def test_a_young_connection_that_answers_410_is_told_later(
    room: Room, broadcaster: InMemoryBroadcaster
) -> None:
    room.connect("bob", "bob", connected_ago=0)
    broadcaster.gone.add("bob")
    room.take(room.connect("alice", "alice"))
    broadcaster.gone.clear()

    room.after(5)

    assert ("alice", True) in room.told("bob")


def test_who_subscribes_while_a_user_is_away_hears_that_the_user_is_back(room: Room) -> None:
    room.take(room.connect("alice", "a1"))
    room.take(room.disconnect("alice", "a1"))
    room.connect("dora", "dora")
    room.take(room.connect("alice", "a2"))
    room.told()

    room.after(5)

    assert room.told("dora") == [("alice", True)]
    assert room.told("carol") == []
