"""What waits between the session and whoever reads: always bounded."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Self

from chat_client.models import Event


class _Waiting:
    """Lets one reader at a time wait for a change, and says how a stream ended."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._reading = False
        self._end: Exception | None = None

    @property
    def has_ended(self) -> bool:
        return self._end is not None

    def wake(self) -> None:
        self._changed.set()

    def end(self, error: Exception | None) -> None:
        """Nothing more comes; readers get `error`, or the plain end of an iteration."""
        if self._end is None:
            self._end = error or StopAsyncIteration()
            self.wake()

    def raise_end(self) -> None:
        if self._end is not None:
            raise self._end

    async def wait(self) -> None:
        if self._reading:
            raise RuntimeError("Another task is reading this stream already.")
        self._reading = True
        try:
            self._changed.clear()
            await self._changed.wait()
        finally:
            self._reading = False


class EventBuffer:
    """A channel's events until they are read.

    Args:
        events: how many at most.
        size: how many bytes of JSON at most.
        on_room: called whenever one was taken out.
        on_told: called when the reader was told what `complain` says.
    """

    def __init__(
        self, events: int, size: int, *, on_room: Callable[[], None], on_told: Callable[[], None]
    ) -> None:
        self._limit = events
        self._size_limit = size
        self._on_room = on_room
        self._on_told = on_told
        self._events: deque[tuple[Event, int]] = deque()
        self._size = 0
        self._waiting = _Waiting()
        self._complaint: Exception | None = None

    @property
    def room(self) -> int:
        """Free places; none where the bytes are used up."""
        return 0 if self._size >= self._size_limit else self._limit - len(self._events)

    @property
    def has_ended(self) -> bool:
        return self._waiting.has_ended

    def put(self, events: list[Event], size: int) -> None:
        """Adds events of `size` bytes together."""
        if events:
            each = size // len(events)
            self._events.extend((event, each) for event in events)
            self._size += each * len(events)
            self._waiting.wake()

    def complain(self, error: Exception) -> None:
        """What the reader is told once, after all that is there now."""
        self._complaint = error
        self._waiting.wake()

    def end(self, error: Exception | None = None) -> None:
        self._waiting.end(error)

    async def get(self) -> Event:
        """The next event.

        Raises:
            ChatError: what `complain` or `end` said.
            StopAsyncIteration: the end.
        """
        while True:
            if self._events:
                event, size = self._events.popleft()
                self._size -= size
                self._on_room()
                return event
            if self._complaint is not None:
                complaint, self._complaint = self._complaint, None
                self._on_told()
                raise complaint
            self._waiting.raise_end()
            await self._waiting.wait()


class EventStream:
    """The iterator that `ChatSession.events` answers with."""

    def __init__(self, buffer: EventBuffer) -> None:
        self._buffer = buffer

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await self._buffer.get()


class LatestStream[T]:
    """An iterator over states: who does not read misses states that are no longer true.

    Items of one key that wait are made one when more than `limit` items wait; the oldest key goes
    when there are more keys than that.

    Args:
        key: what an item is about.
        merge: an older and a newer item of one key, as one.
    """

    def __init__(
        self,
        *,
        key: Callable[[T], Hashable],
        merge: Callable[[T, T], T],
        limit: int,
    ) -> None:
        self._key = key
        self._merge = merge
        self._limit = limit
        self._items: deque[T] = deque()
        self._waiting = _Waiting()

    def put(self, item: T) -> None:
        self._items.append(item)
        if len(self._items) > self._limit:
            self._compact()
        self._waiting.wake()

    def end(self, error: Exception | None = None) -> None:
        self._waiting.end(error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            self._waiting.raise_end()
            await self._waiting.wait()
        return self._items.popleft()

    def _compact(self) -> None:
        merged: OrderedDict[Hashable, T] = OrderedDict()
        for item in self._items:
            key = self._key(item)
            merged[key] = self._merge(merged[key], item) if key in merged else item
        while len(merged) > self._limit:
            merged.popitem(last=False)
        self._items = deque(merged.values())
