"""A reply as it is written, to everybody who listens."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from commons.dynamodb.exceptions import StorageUnavailableError
from commons.observability import log
from commons.realtime import encoded_frames
from commons.realtime.broadcaster import IBroadcaster, Post
from commons.records.connection import Subscription
from commons.schemas.generation import GenerationRequest
from workers_agent.pace import Pace

QUIET_SECONDS: Final = 2.0
"""How long a connection that did not take a frame is left alone: it must not slow the others down."""

AUDIENCE_SECONDS: Final = 0.6
"""Who listens is known so long after it was read. With the time that a post may take, a removed
member hears nothing after 1 s. In a full channel the list is older by then: whoever is to be told
is looked at again first. Where subscriptions cannot be read nobody hears anything."""

LAST_PAUSE_SECONDS: Final = 0.1
"""Between two tries to send the end to whoever has not taken it."""

REPLIES_AT_FULL_PACE: Final = 4
"""Replies that one worker streams at ten frames a second each; more of them share that."""


class IAudience(Protocol):
    """Who listens to a channel."""

    def subscriptions(self, channel_id: str) -> list[Subscription]:
        """The live subscriptions, consistently read."""
        ...

    def still_live(self, subscriptions: Sequence[Subscription]) -> frozenset[str]:
        """The connections of those that are live by now, consistently read."""
        ...

    def forget(self, connection_id: str) -> None:
        """Removes all that is known of a connection that is gone."""
        ...


@dataclass(slots=True)
class _Listener:
    """A connection in the audience.

    Attributes:
        behind: it lacks something that the others were told, and needs a snapshot.
        quiet_until: on the loop's clock.
        told_at: when it was sent something last, on the loop's clock.
    """

    subscription: Subscription
    behind: bool = False
    quiet_until: float = 0.0
    told_at: float = 0.0


class DeltaBroadcast:
    """Turns text, piece by piece, into few frames, each connection's in order and complete.

    The first text goes out at once; what comes after waits for its turn, ten frames a second. Who
    joins in the middle gets a snapshot first. A full channel is told in turns: whoever was told
    something longest ago comes first, with a snapshot where it has missed a frame.

    All of it is a hint: trouble with storage or posts never shows outside.

    Args:
        first_index: the first frame's.
        replaces: the first frame is a snapshot: another worker has told something before.
        text: what stands already; the first frame holds it too.
        share: how many replies this worker streams at once.
    """

    def __init__(
        self,
        request: GenerationRequest,
        audience: IAudience,
        broadcaster: IBroadcaster,
        *,
        pace: Pace,
        first_index: int = 0,
        replaces: bool = False,
        text: str = "",
        share: int = 1,
    ) -> None:
        self._request = request
        self._audience = audience
        self._broadcaster = broadcaster
        self._pace = pace
        self._share = share
        self._first_index = first_index
        self._index = first_index
        self._replaces = replaces
        self._text = text
        self._kept = len(text)
        self._told = 0
        self._listeners: dict[str, _Listener] = {}
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._deadline = 0.0
        self._audience_read_at = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []
        self.first_told: float | None = None

    @property
    def text(self) -> str:
        """What was written so far."""
        return self._text

    @property
    def new_text(self) -> str:
        """What of it may still be dropped."""
        return self._text[self._kept :]

    @property
    def next_index(self) -> int:
        return self._index

    def add(self, text: str) -> None:
        self._text += text
        self._wake.set()

    def keep(self) -> None:
        """What was written so far stands."""
        self._kept = len(self._text)

    def start_anew(self) -> None:
        """Drops what was written and does not stand; the next frame replaces what was told of it."""
        self._text = self._text[: self._kept]
        if self._told > self._kept:
            self._replaces = True
            self._told = 0

    def start(self) -> None:
        """Begins to tell; again: nothing."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._quietly(self._tell())),
                asyncio.create_task(self._quietly(self._listen())),
            ]

    async def finish(self, seconds: float) -> None:
        """Sends what is left, also to who missed something, and waits for it so long at most."""
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._closing.set()
        self._wake.set()
        if not self._tasks:
            return
        telling, _listening = self._tasks
        await asyncio.wait([telling], timeout=seconds)
        if not telling.done():
            log.warning("last deltas not sent in time")

    async def stop(self) -> None:
        """Sends nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _quietly(self, telling: Coroutine[None, None, None]) -> None:
        try:
            await telling
        except Exception as error:  # noqa: BLE001 - a hint that fails is no failure of the reply
            log.error("deltas ended", error=type(error).__name__)

    async def _listen(self) -> None:
        """Looks who listens, again and again, and greets who came since."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._take_audience()
            took = loop.time() - began
            # A full channel takes long to read: half of the time is left for telling.
            await asyncio.sleep(max(self._pace.look - took, took))

    async def _take_audience(self) -> None:
        channel_id = self._request.channel_id
        began = asyncio.get_running_loop().time()
        try:
            rows = await asyncio.to_thread(self._audience.subscriptions, channel_id)
        except StorageUnavailableError as error:
            log.warning("audience not read", error=type(error).__name__)
            return
        told = self._is_told()
        self._listeners = {
            row.connection_id: self._known_as(row) or _Listener(row, behind=told) for row in rows
        }
        self._audience_read_at = began
        self._wake.set()

    def _known_as(self, row: Subscription) -> _Listener | None:
        known = self._listeners.get(row.connection_id)
        if known is None or known.subscription.live_since != row.live_since:
            return None
        return known

    async def _tell(self) -> None:
        while not self._closing.is_set():
            await self._wake.wait()
            self._wake.clear()
            if await self._send(seconds=self._pace.post):
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._closing.wait()
                if self._lags():
                    self._wake.set()
        await self._tell_the_end()

    async def _tell_the_end(self) -> None:
        """Until everybody has it: nothing comes after it that could fill a hole."""
        loop = asyncio.get_running_loop()
        while (left := self._deadline - loop.time()) > 0:
            for listener in self._listeners.values():
                listener.quiet_until = 0.0
            await self._send(seconds=min(self._pace.post, left))
            if self._has_told_all():
                return
            await asyncio.sleep(LAST_PAUSE_SECONDS)

    def _has_told_all(self) -> bool:
        is_known = self._audience_read_at > float("-inf")
        has_news = self._told < len(self._text) or self._replaces_told_text()
        lags = any(listener.behind for listener in self._listeners.values())
        return is_known and not has_news and not lags

    def _lags(self) -> bool:
        """Whether somebody who may be sent something lacks something."""
        moment = asyncio.get_running_loop().time()
        return any(
            listener.behind and listener.quiet_until <= moment
            for listener in self._listeners.values()
        )

    def _pause(self) -> float:
        by_audience = min(len(self._listeners), self._turn()) / self._pace.frames_per_second
        by_share = self._pace.frame * self._share / REPLIES_AT_FULL_PACE
        return max(self._pace.frame, by_audience, by_share)

    def _turn(self) -> int:
        """How many are told at a time: what the pace sends while one post may take."""
        return max(1, int(self._pace.frames_per_second * self._pace.post))

    async def _send(self, *, seconds: float) -> bool:
        """Sends everybody what they lack; False where nobody lacks anything."""
        posts = await self._of_those_who_still_listen(self._posts())
        if not posts:
            return False
        outcome = await asyncio.to_thread(
            self._broadcaster.send, posts.values(), budget_seconds=seconds
        )
        if self.first_told is None and outcome.delivered:
            self.first_told = asyncio.get_running_loop().time()
        if missed := outcome.failed | outcome.unready:
            log.warning(
                "deltas not taken", failed=len(outcome.failed), unready=len(outcome.unready)
            )
            self._mark_behind(missed)
        if outcome.gone:
            await self._forget(outcome.gone)
        return True

    async def _of_those_who_still_listen(self, posts: dict[str, Post]) -> dict[str, Post]:
        """Whoever is to be told now, looked at again where the list is too old to trust."""
        age = asyncio.get_running_loop().time() - self._audience_read_at
        if not posts or age <= AUDIENCE_SECONDS:
            return posts
        asked = [
            listener.subscription
            for connection_id in posts
            if (listener := self._listeners.get(connection_id)) is not None
        ]
        try:
            still_live = await asyncio.to_thread(self._audience.still_live, asked)
        except StorageUnavailableError as error:
            log.warning("audience not read", error=type(error).__name__)
            self._mark_behind(posts)
            return {}
        for connection_id in posts.keys() - still_live:
            self._listeners.pop(connection_id, None)
        return {
            connection_id: post
            for connection_id, post in posts.items()
            if connection_id in still_live
        }

    def _posts(self) -> dict[str, Post]:
        moment = asyncio.get_running_loop().time()
        piece = self._text[self._told :]
        has_news = bool(piece) or self._replaces_told_text()
        if has_news:
            news = self._frame(self._index, piece, snapshot=self._replaces)
            everything = self._frame(self._index, self._text, snapshot=True)
            self._index += 1
            self._replaces = False
            self._told = len(self._text)
        elif self._is_told():
            everything = self._frame(self._index - 1, self._text, snapshot=True)
        else:
            return {}
        lacking = [
            listener
            for listener in self._listeners.values()
            if (listener.behind or has_news) and listener.quiet_until <= moment
        ]
        if has_news:
            for listener in self._listeners.values():
                listener.behind = listener.behind or listener.quiet_until > moment
        lacking.sort(key=lambda listener: listener.told_at)
        turn = self._turn()
        posts: dict[str, Post] = {}
        for listener in lacking[:turn]:
            subscription = listener.subscription
            frame = everything if listener.behind else news
            posts[subscription.connection_id] = Post(
                subscription.connection_id, (frame,), subscription.connected_at
            )
            listener.behind = False
            listener.told_at = moment
        for listener in lacking[turn:]:
            listener.behind = True
        return posts

    def _is_told(self) -> bool:
        """Whether a frame stands that a newcomer lacks; not where the next one replaces it."""
        return self._index > self._first_index and not self._replaces

    def _replaces_told_text(self) -> bool:
        """At the end of a reply that started anew and came to nothing, that has to be told too."""
        return self._replaces and self._closing.is_set()

    def _frame(self, index: int, text: str, *, snapshot: bool) -> bytes:
        request = self._request
        return encoded_frames.delta(
            request.channel_id,
            reply_to=request.question_seq,
            generation=request.generation,
            index=index,
            text=text,
            snapshot=snapshot,
        )

    def _mark_behind(self, connection_ids: Iterable[str]) -> None:
        quiet_until = asyncio.get_running_loop().time() + QUIET_SECONDS
        for connection_id in connection_ids:
            if (listener := self._listeners.get(connection_id)) is not None:
                listener.behind = True
                listener.quiet_until = quiet_until

    async def _forget(self, gone: Iterable[str]) -> None:
        for connection_id in gone:
            self._listeners.pop(connection_id, None)
        try:
            await asyncio.gather(*(asyncio.to_thread(self._audience.forget, each) for each in gone))
        except StorageUnavailableError as error:
            log.warning("gone connections not forgotten", error=type(error).__name__)
