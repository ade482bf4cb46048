"""One channel of a session: what arrives goes to the streams of whoever reads."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final
from weakref import WeakSet

from chat_client.channel_log import ChannelLog
from chat_client.errors import SessionClosedError, SlowConsumerError, UnsubscribedError
from chat_client.frames import (
    ChannelFrame,
    DeltaFrame,
    PresenceFrame,
    ReadFrame,
    SyncFrame,
    TypingFrame,
    UnsubscribedFrame,
)
from chat_client.models import Event
from chat_client.replies import Delta, Replies
from chat_client.streams import EventBuffer, LatestStream

DELTAS_WAITING: Final = 64
STATES_WAITING: Final = 256


def delta_stream() -> LatestStream[Delta]:
    return LatestStream(
        key=lambda delta: (delta.reply_to, delta.generation),
        merge=lambda older, newer: older.then(newer),
        limit=DELTAS_WAITING,
    )


def _state_stream[S: (PresenceFrame, TypingFrame, ReadFrame)](
    _kind: type[S],
) -> LatestStream[S]:
    return LatestStream(
        key=lambda state: state.user_id, merge=lambda _older, newer: newer, limit=STATES_WAITING
    )


class Subscription:
    """A channel's log, its replies, who is there, and the streams of all that.

    Args:
        after: the last event that the consumer has.
        events: how many events wait at most.
        size: how many bytes of JSON they may have.

    Attributes:
        wake: set whenever there may be something to ask.
        ready: done when the server acknowledged the first subscription, or refused it.
    """

    def __init__(self, channel_id: str, *, after: int, events: int, size: int) -> None:
        self.channel_id = channel_id
        self.log = ChannelLog(after, room_for_sync=max(1, min(100, events // 2)))
        self.wake = asyncio.Event()
        self.events = EventBuffer(events, size, on_room=self.wake.set, on_told=self._resume)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.online: set[str] = set()
        self._limit = events
        self._replies = Replies(channel_id)
        self._deltas: WeakSet[LatestStream[Delta]] = WeakSet()
        self._typing: WeakSet[LatestStream[TypingFrame]] = WeakSet()
        self._presence: WeakSet[LatestStream[PresenceFrame]] = WeakSet()
        self._reads: WeakSet[LatestStream[ReadFrame]] = WeakSet()
        self._watchers: WeakSet[EventWatcher] = WeakSet()

    @property
    def has_ended(self) -> bool:
        return self.events.has_ended

    def deltas(self) -> LatestStream[Delta]:
        stream = self._opened(delta_stream(), self._deltas)
        for delta in self._replies.open_deltas():
            stream.put(delta)
        return stream

    def typing(self) -> LatestStream[TypingFrame]:
        return self._opened(_state_stream(TypingFrame), self._typing)

    def presence(self) -> LatestStream[PresenceFrame]:
        stream = self._opened(_state_stream(PresenceFrame), self._presence)
        for user_id in sorted(self.online):
            stream.put(self._presence_of(user_id, online=True))
        return stream

    def reads(self) -> LatestStream[ReadFrame]:
        return self._opened(_state_stream(ReadFrame), self._reads)

    def watch(self, on_event: Callable[[Event], None]) -> "EventWatcher":
        """Calls back with each event as it arrives, in any order, any number of times."""
        watcher = EventWatcher(on_event)
        self._watchers.add(watcher)
        return watcher

    def take_push(self, events: list[Event], size: int) -> None:
        """Events that the server pushed; `size` is that of their JSON, or near it."""
        self._observe(events)
        was_paused = self.log.paused
        taken = self.log.pushed(events, self.events.room)
        self.events.put(taken, size * len(taken) // max(1, len(events)))
        if self.log.paused and not was_paused:
            self.events.complain(SlowConsumerError(self.channel_id, self.log.position, self._limit))
        self.wake.set()

    def take_page(self, page: SyncFrame) -> bool:
        """A page of the log; whether it brought anything new."""
        self._observe(page.items)
        taken = self.log.synced(page.items, page.last_seq, page.has_more, self.events.room)
        self.events.put(taken, page.size * len(taken) // max(1, len(page.items)))
        return bool(taken)

    def take(self, frame: ChannelFrame) -> None:
        match frame:
            case DeltaFrame():
                self._put(self._deltas, self._replies.take(frame))
            case PresenceFrame(user_id=user_id, online=online):
                (self.online.add if online else self.online.discard)(user_id)
                self._put(self._presence, [frame])
            case TypingFrame():
                self._put(self._typing, [frame])
            case ReadFrame():
                self._put(self._reads, [frame])
            case UnsubscribedFrame(reason=reason):
                self.end(UnsubscribedError(self.channel_id, reason))
            case _:
                pass

    def take_online(self, user_ids: Iterable[str]) -> None:
        """Who is there when the subscription begins: what changed meanwhile is told."""
        there = set(user_ids)
        for user_id in sorted(self.online ^ there):
            self.take(self._presence_of(user_id, online=user_id in there))

    def end(self, error: Exception | None = None) -> None:
        """Ends every stream: with `error`, or plainly."""
        self.events.end(error)
        self._end_all(self._deltas, error)
        self._end_all(self._typing, error)
        self._end_all(self._presence, error)
        self._end_all(self._reads, error)
        if not self.ready.done():
            self.ready.set_exception(error or SessionClosedError("The subscription was ended."))
            self.ready.exception()  # nobody may be waiting: no warning then
        self.wake.set()

    def _observe(self, events: list[Event]) -> None:
        for event in events:
            self._put(self._deltas, self._replies.ended(event))
            for watcher in list(self._watchers):
                watcher.on_event(event)

    def _opened[T](
        self, stream: LatestStream[T], streams: WeakSet[LatestStream[T]]
    ) -> LatestStream[T]:
        streams.add(stream)
        return stream

    def _put[T](self, streams: WeakSet[LatestStream[T]], items: Iterable[T]) -> None:
        for item in items:
            for stream in list(streams):
                stream.put(item)

    def _end_all[T](self, streams: WeakSet[LatestStream[T]], error: Exception | None) -> None:
        for stream in list(streams):
            stream.end(error)

    def _presence_of(self, user_id: str, *, online: bool) -> PresenceFrame:
        return PresenceFrame(
            type="presence", channel_id=self.channel_id, user_id=user_id, online=online
        )

    def _resume(self) -> None:
        self.log.resume()
        self.wake.set()


class EventWatcher:
    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self.on_event = on_event
