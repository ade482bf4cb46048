"""Many sockets at once, on one event loop."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from urllib.parse import urlencode

from tests.e2e.clients import RestClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

HANDSHAKES_AT_ONCE = 10
"""The emulator serves the handshakes of an API one after the other."""


class Listener:
    """Notes the numbers of a channel's events as they come in, repeats included.

    Attributes:
        arrived_at: when each number came first, of the monotonic clock.
        is_subscribed: set by the ack of a `subscribe`.
    """

    def __init__(self, connection: ClientConnection, member: RestClient, channel_id: str) -> None:
        self.connection = connection
        self.member = member
        self.channel_id = channel_id
        self.seqs: list[int] = []
        self.arrived_at: dict[int, float] = {}
        self.is_subscribed = asyncio.Event()
        self._arrived = asyncio.Condition()

    async def listen(self) -> None:
        try:
            async for message in self.connection:
                frame = json.loads(message)
                if frame["type"] == "ack":
                    self.is_subscribed.set()
                if frame["type"] == "events":
                    async with self._arrived:
                        self._note(frame["events"])
                        self._arrived.notify_all()
        except ConnectionClosed:
            pass  # cut by the test, or closed by the service

    def _note(self, events: list[dict[str, object]]) -> None:
        moment = time.monotonic()
        for event in events:
            seq = event["seq"]
            if event["channelId"] == self.channel_id and isinstance(seq, int):
                self.seqs.append(seq)
                self.arrived_at.setdefault(seq, moment)

    async def has_seen(self, count: int) -> None:
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.first_seen()) >= count)

    def first_seen(self) -> list[int]:
        return list(dict.fromkeys(self.seqs))

    async def subscribe(self, channel_id: str, *, after: int | None = None) -> None:
        """Also to another channel than the one whose events it notes; returns once that is so."""
        self.is_subscribed.clear()
        frame = {"action": "subscribe", "channelId": channel_id}
        await self.connection.send(json.dumps(frame | ({} if after is None else {"after": after})))
        await self.is_subscribed.wait()

    def cut(self) -> None:
        """Ends the line without a goodbye."""
        self.connection.transport.abort()


async def open_listener(
    stack: AsyncExitStack,
    websocket_url: str,
    member: RestClient,
    channel_id: str,
    *,
    after: int | None = None,
) -> Listener:
    """A socket that its handshake subscribes to the channel; with `after`, a frame does."""
    query = {"ticket": await asyncio.to_thread(member.ticket)}
    if after is None:
        query["channels"] = channel_id
    connection = await stack.enter_async_context(
        connect(
            f"{websocket_url}?{urlencode(query)}", open_timeout=60, close_timeout=1, max_size=None
        )
    )
    listener = Listener(connection, member, channel_id)
    listening = asyncio.create_task(listener.listen())
    stack.callback(listening.cancel)
    if after is not None:
        await listener.subscribe(channel_id, after=after)
    return listener


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
            member = members[number % len(members)]
            return await open_listener(stack, websocket_url, member, channel_id)

    return list(await asyncio.gather(*(one(number) for number in range(count))))
