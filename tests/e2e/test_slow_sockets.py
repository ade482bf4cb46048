"""Two hundred sockets, some of which never read, break off or come back: the others notice nothing."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median

import pytest
from tests.e2e.clients import Redeploy, RestClient, connections_in, eventually
from tests.e2e.crowd import Listener, join, open_listener
from tests.support.deaf_proxy import DeafProxy, deaf_proxy

from devstack.local_stack import LocalStack

MESSAGES = 100
PACE_SECONDS = 0.5
SILENT = 20
"""As many never read, as many are cut, and as many come back."""

OTHERS = 140

WORKERS = 4
"""Of catching up, at once, on this machine (the mapping's `MaximumConcurrency`)."""

SECONDS = 1.0
"""From the 201 to the arrival (acceptance). A machine that has other work is late now and then: of
twenty messages one may take longer."""

LATEST_SECONDS = 3.0

CLOSED_AFTER_SECONDS = 10.0
CLOSED_AT_LAST_SECONDS = 30.0
"""They are put back within a second, tried for ten, and a worker may have to start for that."""


@pytest.fixture
def proxy(local_stack: LocalStack, redeploy: Redeploy) -> Iterator[DeafProxy]:
    """Stands between what posts to connections and the emulator."""
    with deaf_proxy(local_stack.config.endpoint) as proxy:
        redeploy("websocket", {"EmulatorEndpoint": f"{proxy.address}/_aws/execute-api"})
        # It reads the new address as it is deployed.
        redeploy("workers", {})
        _start_workers(local_stack)
        yield proxy


def _start_workers(local_stack: LocalStack) -> None:
    """The emulator starts them on the cores that everything else here runs on: seconds for each."""
    functions = local_stack.clients.functions()
    names = ["chat-local-workers_delivery", *["chat-local-workers_delivery_queues"] * WORKERS]
    with ThreadPoolExecutor(len(names)) as threads:
        for answer in threads.map(
            lambda name: functions.invoke(FunctionName=name, Payload=b'{"Records": []}'), names
        ):
            assert "FunctionError" not in answer


@dataclass
class Room:
    """The sockets of one channel, and when its messages were acknowledged."""

    others: list[Listener] = field(default_factory=list)
    silent: list[Listener] = field(default_factory=list)
    cut: list[Listener] = field(default_factory=list)
    back: list[Listener] = field(default_factory=list)
    resumed: list[Listener] = field(default_factory=list)
    appended_at: dict[int, float] = field(default_factory=dict)
    closed_at: list[float] = field(default_factory=list)

    def late(self) -> list[float]:
        """Seconds from a message's 201 to its arrival, at all whose line was never broken."""
        return [
            listener.arrived_at[seq] - appended_at
            for listener in self.others
            for seq, appended_at in self.appended_at.items()
        ]


@pytest.mark.alone
@pytest.mark.rare
def test_sockets_that_never_read_break_off_or_come_back_cost_the_others_nothing(
    client_of: Callable[[str], RestClient], websocket_url: str, proxy: DeafProxy
) -> None:
    members = [client_of(user) for user in ("alice", "bob", "carol", "dave")]
    names = ["bob", "carol", "dave"]
    channel = members[0].create_channel(*names)
    quiet = members[0].create_channel(*names)
    rehearsal = members[0].create_channel(*names)

    asyncio.run(_rehearse(members, websocket_url, rehearsal))
    room = asyncio.run(_play(members, websocket_url, proxy, channel, quiet))

    everything = list(range(1, MESSAGES + 1))
    late = sorted(room.late())
    print(f"median {median(late):.2f} s, 95 % {_percentile(late, 95):.2f} s, most {late[-1]:.2f} s")
    complete = {"others": room.others, "back": room.back, "resumed": room.resumed}
    for kind, listeners in complete.items():
        for listener in listeners:
            assert listener.first_seen() == everything, (kind, listener.arrived_at)
    assert _percentile(late, 95) <= SECONDS
    assert late[-1] <= LATEST_SECONDS
    closed_after = [moment - room.appended_at[1] for moment in room.closed_at]
    assert len(closed_after) == SILENT
    assert CLOSED_AFTER_SECONDS <= min(closed_after) <= max(closed_after) <= CLOSED_AT_LAST_SECONDS


def _percentile(ascending: list[float], percent: int) -> float:
    return ascending[len(ascending) * percent // 100 - 1]


async def _rehearse(members: list[RestClient], websocket_url: str, channel: str) -> None:
    """Starts the workers for those who are cut and for those who come back, as the fixture does."""
    async with AsyncExitStack() as stack, asyncio.timeout(120):
        crowd = await join(stack, websocket_url, members, channel, 2 * SILENT)
        await asyncio.to_thread(members[0].post, channel, "who is here")
        await asyncio.gather(*(listener.has_seen(1) for listener in crowd))
        for listener in crowd:
            listener.cut()
        await asyncio.gather(*(_back(stack, websocket_url, each) for each in crowd[:SILENT]))
    await asyncio.to_thread(eventually, lambda: connections_in(members[0], channel) == 0)


async def _play(
    members: list[RestClient], websocket_url: str, proxy: DeafProxy, channel: str, quiet: str
) -> Room:
    room = Room()
    async with AsyncExitStack() as stack, asyncio.timeout(300):

        async def joined(count: int) -> list[Listener]:
            return await join(stack, websocket_url, members, channel, count)

        rehearsed = frozenset(proxy.asked)
        room.silent = await join(stack, websocket_url, members, quiet, SILENT)
        await asyncio.to_thread(members[0].post, quiet, "who is here")
        await asyncio.gather(*(listener.has_seen(1) for listener in room.silent))
        silent = frozenset(proxy.asked - rehearsed)
        assert len(silent) == SILENT
        await asyncio.gather(*(listener.subscribe(channel) for listener in room.silent))
        room.others = await joined(OTHERS)
        room.cut, leaving = await joined(SILENT), await joined(SILENT)
        # Not before: what they do not take of presence counts as well.
        proxy.deaf = silent
        closing = [asyncio.create_task(_closed_at(listener)) for listener in room.silent]
        posting = asyncio.create_task(_post(members[0], channel, room.appended_at))
        await asyncio.gather(*(listener.has_seen(MESSAGES // 3) for listener in room.others))
        for listener in [*room.cut, *leaving]:
            listener.cut()
        room.back = list(
            await asyncio.gather(*(_back(stack, websocket_url, each) for each in leaving))
        )
        room.closed_at = list(await asyncio.gather(*closing))
        room.resumed = list(
            await asyncio.gather(
                *(
                    open_listener(stack, websocket_url, each.member, channel, after=0)
                    for each in room.silent
                )
            )
        )
        await posting
        complete = [*room.others, *room.back, *room.resumed]
        await asyncio.gather(*(listener.has_seen(MESSAGES) for listener in complete))
    return room


async def _post(member: RestClient, channel: str, appended_at: dict[int, float]) -> None:
    began = time.monotonic()
    with member.again() as client:
        for number in range(MESSAGES):
            await asyncio.sleep(began + number * PACE_SECONDS - time.monotonic())
            event = await asyncio.to_thread(client.post, channel, f"message {number}")
            appended_at[event["seq"]] = time.monotonic()


async def _closed_at(listener: Listener) -> float:
    await listener.connection.wait_closed()
    return time.monotonic()


async def _back(stack: AsyncExitStack, websocket_url: str, left: Listener) -> Listener:
    """Another socket of the same client, which goes on after the last number that it holds."""
    again = await open_listener(
        stack, websocket_url, left.member, left.channel_id, after=max(left.seqs)
    )
    again.seqs[:0] = left.seqs
    return again
