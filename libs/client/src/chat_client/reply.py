"""One reply, from its first piece to its end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

from chat_client.errors import AgentFailedError, SessionClosedError
from chat_client.models import AgentFailed, Event, EventPage, MessageCreated
from chat_client.replies import Delta
from chat_client.subscription import Subscription

PAGE = 100


class ReplyStream:
    """Iterates over the pieces of a reply; ends with it.

    The pieces are the final text, whatever was lost on the way, and where a reply had ended before
    anybody looked, it is one piece.

    Raises (while iterating):
        AgentFailedError: the agent gave up.
        ChatError: as `ChatSession.events`.

    Attributes:
        event: the final message; None until the iteration has ended.
    """

    def __init__(
        self,
        subscription: Subscription,
        reply_to: int,
        generation: int,
        *,
        read_log: Callable[[int], Awaitable[EventPage]],
        look_seconds: float,
    ) -> None:
        self.event: MessageCreated | None = None
        self._channel_id = subscription.channel_id
        self._reply_to = reply_to
        self._generation = generation
        self._read_log = read_log
        self._look_seconds = look_seconds
        self._content = ""
        self._index = -1
        self._looked = False
        self._failure: AgentFailedError | None = None
        self._deltas = subscription.deltas()
        self._watcher = subscription.watch(self._on_event)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        if not self._looked:
            self._looked = True
            await self._look()
        while not self._has_ended:
            delta = await self._next_delta()
            if delta is not None:
                self._content, self._index = delta.content, delta.index
                return delta
        if self._failure is not None:
            raise self._failure
        return self._rest()

    async def text(self) -> str:
        """The whole reply, once it has ended."""
        async for _ in self:
            pass
        return self._content

    @property
    def _has_ended(self) -> bool:
        return self.event is not None or self._failure is not None

    def _rest(self) -> Delta:
        text = self.event.data.text if self.event else ""
        if text == self._content:
            raise StopAsyncIteration
        before, self._content = self._content, text
        grows = text.startswith(before)
        return Delta(
            channel_id=self._channel_id,
            reply_to=self._reply_to,
            generation=self._generation,
            index=self._index,
            text=text.removeprefix(before) if grows else text,
            snapshot=not grows,
            content=text,
        )

    async def _next_delta(self) -> Delta | None:
        """The next piece of this reply; None when it is time to see whether it has ended."""
        try:
            async with asyncio.timeout(self._look_seconds):
                async for delta in self._deltas:
                    if (delta.reply_to, delta.generation) == (self._reply_to, self._generation):
                        return delta
        except TimeoutError:
            await self._look()
            return None
        if not self._has_ended:
            raise SessionClosedError("The session, or the subscription, was closed.")
        return None

    async def _look(self) -> None:
        """The log knows an end that no push brought."""
        after = self._reply_to
        while not self._has_ended:
            page = await self._read_log(after)
            for event in page.items:
                self._on_event(event)
                after = event.seq
            if not page.has_more or not page.items:
                return

    def _on_event(self, event: Event) -> None:
        match event:
            case MessageCreated(data=data):
                if (data.reply_to, data.generation) == (self._reply_to, self._generation):
                    self.event = event
                    self._deltas.end()
            case AgentFailed(data=failed):
                if (failed.target, failed.generation) == (self._reply_to, self._generation):
                    self._failure = AgentFailedError(
                        self._channel_id, self._reply_to, failed.reason
                    )
                    self._deltas.end()
            case _:
                pass
