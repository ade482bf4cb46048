"""Nothing that was said, and no exception's message, gets into a log line."""

import pytest
from tests.doubles.canary import canary
from tests.unit.workers_delivery.conftest import World

CHANNEL = "c" * 22


def broken(*_: object, **__: object) -> None:
    raise RuntimeError(canary("exception"))


@pytest.fixture(autouse=True)
def alice_listens(world: World) -> None:
    world.join(CHANNEL, "alice")
    world.connect("alice", "c1", CHANNEL)


def test_what_is_delivered_is_not_logged(world: World) -> None:
    world.deliver(world.say(CHANNEL, canary("text")))

    assert canary("text") in str(world.frames("c1"))


@pytest.mark.parametrize("call", ["query", "find", "batch_get"])
def test_an_exceptions_message_is_not_logged(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    event = world.say(CHANNEL, canary("text"))
    monkeypatch.setattr(world.repository, call, broken)

    world.deliver(event)
