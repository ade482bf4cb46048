"""A name leads where it was checked to lead, and nowhere else."""

import socket
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from tests.unit.workers_tools.conftest import MakeStack, Stack

HOST = "tools.example.test"


class Resolver:
    """Answers one list of addresses after the other, the last for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def named(stack: Stack, *answers: Sequence[str], **fields: Any) -> Resolver:
    """The stack's server under a name."""
    resolver = Resolver(*answers)
    stack.resolver = resolver
    stack.described = {"url": f"http://{HOST}:{stack.server.port}/mcp"}
    for name, value in fields.items():
        setattr(stack, name, value)
    return resolver


def test_the_server_is_told_the_name_and_reached_at_the_address_that_was_checked(
    stack_of: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_arguments: object, **_more: object) -> None:
        raise AssertionError("resolved a second time")

    stack = stack_of()
    resolver = named(stack, ["127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", never)

    answer = stack.call()

    assert answer.outcome == "ok"
    assert {each.headers["host"] for each in stack.server.received} == {
        f"{HOST}:{stack.server.port}"
    }
    assert set(resolver.asked) == {(HOST, stack.server.port)}


def test_a_name_that_is_bound_anew_during_a_conversation_is_refused_then(
    stack_of: MakeStack,
) -> None:
    stack = stack_of()
    named(stack, ["127.0.0.1"], ["127.0.0.1"], ["169.254.169.254"])

    answer = stack.call()

    assert answer.reason == "refused_address"
    assert answer.text.endswith("The call was not made.")
    assert "tools/call" not in stack.server.methods


@pytest.mark.parametrize(
    "addresses",
    [
        ["169.254.169.254"],
        ["127.0.0.1", "169.254.169.254"],
        ["::ffff:169.254.169.254"],
        ["fe80::1%eth0"],
        ["0.0.0.0"],  # noqa: S104 - asked, not listened on
    ],
)
def test_one_bad_address_of_a_name_is_enough(stack_of: MakeStack, addresses: Sequence[str]) -> None:
    stack = stack_of()
    named(stack, addresses)

    assert stack.call().reason == "refused_address"
    assert stack.server.received == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "192.168.1.1"])
def test_a_public_stack_asks_no_private_address(stack_of: MakeStack, address: str) -> None:
    stack = stack_of()
    named(stack, [address], network="public")
    stack.described["url"] = f"https://{HOST}:{stack.server.port}/mcp"

    assert stack.call().reason == "refused_address"
    assert stack.server.received == []


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[::ffff:169.254.169.254]", "2852039166", "0xa9fea9fe", "0"]
)
def test_an_address_is_checked_however_it_is_spelt(stack_of: MakeStack, host: str) -> None:
    stack = stack_of(described={"url": f"http://{host}/latest/meta-data"})

    assert stack.call().reason == "refused_address"


def test_the_next_address_is_tried_where_one_takes_no_connection(stack_of: MakeStack) -> None:
    stack = stack_of()
    named(stack, ["127.0.0.2", "127.0.0.1"])

    assert stack.call().outcome == "ok"


def test_a_name_that_nobody_knows_is_unreachable(stack_of: MakeStack) -> None:
    stack = stack_of()
    named(stack, [])

    answer = stack.call()

    assert answer.reason == "unreachable"
    assert answer.text.endswith("The call was not made.")


def test_a_resolver_that_hangs_ends_with_the_call(stack_of: MakeStack) -> None:
    stack = stack_of(seconds=0.3)
    stack.described = {"url": f"http://{HOST}/mcp"}

    async def hangs(_host: str, _port: int) -> Sequence[str]:
        await anyio.sleep_forever()
        raise AssertionError

    stack.resolver = hangs

    assert stack.call().reason == "timeout"
