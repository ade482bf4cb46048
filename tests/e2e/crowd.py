"""Many sockets at once, on one event loop."""

import asyncio
import json
from contextlib import AsyncExitStack
from urllib.parse import urlencode

from tests.e2e.clients import RestClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

HANDSHAKES_AT_ONCE = 10
"""The emulator serves the handshakes of an API one after the other."""


class Listener:
    """Notes the numbers of a channel's events as they come in, repeats included."""

    def __init__(self, connection: ClientConnection, channel_id: str) -> None:
        self.connection = connection
        self.channel_id = channel_id
        self.seqs: list[int] = []
        self._arrived = asyncio.Condition()

    async def listen(self) -> None:
        try:
            async for message in self.connection:
                frame = json.loads(message)
                if frame["type"] == "events":
                    async with self._arrived:
                        self.seqs += [
                            event["seq"]
                            for event in frame["events"]
                            if event["channelId"] == self.channel_id
                        ]
                        self._arrived.notify_all()
        except ConnectionClosed:
            pass  # cut by the test

    async def has_seen(self, count: int) -> None:
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.first_seen()) >= count)

    def first_seen(self) -> list[int]:
        return list(dict.fromkeys(self.seqs))

    def cut(self) -> None:
        """Ends the line without a goodbye."""
        self.connection.transport.abort()


async def join(
    stack: AsyncExitStack,
    websocket_url: str,
    members: list[RestClient],
    channel_id: str,
    count: int,
) -> list[Listener]:
    """`count` sockets subscribed to the channel, shared out among the members."""
    gate = asyncio.Semaphore(HANDSHAKES_AT_ONCE)

    async def one(number: int) -> Listener:
        async with gate:
            ticket = await asyncio.to_thread(members[number % len(members)].ticket)
            query = urlencode({"ticket": ticket, "channels": channel_id})
            connection = await stack.enter_async_context(
                connect(f"{websocket_url}?{query}", open_timeout=60, close_timeout=1, max_size=None)
            )
        listener = Listener(connection, channel_id)
        listening = asyncio.create_task(listener.listen())
        stack.callback(listening.cancel)
        return listener

    return list(await asyncio.gather(*(one(number) for number in range(count))))
