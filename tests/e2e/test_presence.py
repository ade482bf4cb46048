"""A crowd that comes back at once: everybody knows in the end who is there."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from urllib.parse import urlencode

import pytest
from tests.e2e.clients import RestClient
from tests.e2e.crowd import HANDSHAKES_AT_ONCE
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

CROWD = 100
MEMBERS_AT_CREATION = 40
SECONDS = 10.0
"""After the last of them is back (acceptance)."""


class Watcher:
    """A user who subscribes, and believes what the ack and the frames after it say."""

    def __init__(self, connection: ClientConnection, channel_id: str) -> None:
        self.connection = connection
        self.channel_id = channel_id
        self.online: set[str] = set()
        self.is_subscribed = asyncio.Event()

    async def listen(self) -> None:
        try:
            async for message in self.connection:
                frame = json.loads(message)
                match frame["type"]:
                    case "ack":
                        self.online = set(frame["online"])
                        self.is_subscribed.set()
                    case "presence" if frame["online"]:
                        self.online.add(frame["userId"])
                    case "presence":
                        self.online.discard(frame["userId"])
        except ConnectionClosed:
            pass

    async def subscribe(self) -> None:
        frame = {"action": "subscribe", "channelId": self.channel_id}
        await self.connection.send(json.dumps(frame))
        await self.is_subscribed.wait()


@pytest.mark.alone
@pytest.mark.rare
def test_of_a_hundred_who_come_back_at_once_everybody_sees_everybody(
    client_of: Callable[[str], RestClient], websocket_url: str
) -> None:
    users = [f"crowd-{number:03}" for number in range(CROWD)]
    clients = [client_of(user) for user in users]
    channel_id = clients[0].create_channel(*users[1:MEMBERS_AT_CREATION])
    for user in users[MEMBERS_AT_CREATION:]:
        path = f"/channels/{channel_id}/members/{user}"
        clients[0].call("PUT", path, 200, json={"role": "member"})

    waited = asyncio.run(come_back(clients, set(users), websocket_url, channel_id))

    assert waited <= SECONDS


async def come_back(
    clients: list[RestClient], users: set[str], websocket_url: str, channel_id: str
) -> float:
    """Seconds from the last one's being back to everybody's seeing everybody."""
    gate = asyncio.Semaphore(HANDSHAKES_AT_ONCE)
    async with AsyncExitStack() as stack:

        async def opened(client: RestClient) -> Watcher:
            async with gate:
                query = urlencode({"ticket": await asyncio.to_thread(client.ticket)})
                connection = await stack.enter_async_context(
                    connect(f"{websocket_url}?{query}", open_timeout=60, close_timeout=1)
                )
            watcher = Watcher(connection, channel_id)
            stack.callback(asyncio.create_task(watcher.listen()).cancel)
            return watcher

        watchers = await asyncio.gather(*map(opened, clients))
        await asyncio.gather(*(watcher.subscribe() for watcher in watchers))
        back_at = time.monotonic()
        while not all(watcher.online == users for watcher in watchers):
            waited = time.monotonic() - back_at
            seen = sorted(len(watcher.online) for watcher in watchers)
            assert waited < 6 * SECONDS, f"after {waited:.0f} s they see {seen}"
            await asyncio.sleep(0.05)
        return time.monotonic() - back_at
