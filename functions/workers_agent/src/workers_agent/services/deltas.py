"""A reply as it is written, to everybody who listens."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from commons.clock import epoch_milliseconds, epoch_seconds
from commons.dynamodb.exceptions import StorageBusyError, StorageUnavailableError
from commons.errors import UnavailableError
from commons.observability import log
from commons.realtime import encoded_frames
from commons.realtime.broadcaster import TRUSTED_SECONDS, IBroadcaster, Outcome, Post
from commons.records.connection import Removals, Subscription
from commons.schemas.generation import GenerationRequest
from workers_agent.pace import Pace

QUIET_SECONDS: Final = 2.0
"""How long a connection that did not take a frame is left alone: it must not slow the others down."""

AUDIENCE_SECONDS: Final = 1.0
"""How old the list of who listens may be when a frame leaves (docs/adr/0052). In a full channel it is
older by then: who was removed meanwhile is looked at first. Where that cannot be read nobody hears
anything."""

END_SECONDS: Final = 2.0
"""What the end of a reply waits for a full room at most."""

POSTS_PER_SECOND: Final = 4_000
"""Of one worker (`poe bench fanout`)."""

LAST_PAUSE_SECONDS: Final = 0.1
"""Between two tries to send the end to whoever has not taken it."""

REPLIES_AT_FULL_PACE: Final = 4
"""Replies that one worker streams at ten frames a second each; more of them share that."""


class IAudience(Protocol):
    """Who listens to a channel."""

    def subscriptions(self, channel_id: str) -> list[Subscription]:
        """The live subscriptions, consistently read."""
        ...

    def removed_since(self, channel_id: str, began_at: int) -> Removals | None:
        """Who was removed since a look that began then; None: the list has to be read anew."""
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
        share: says how many replies this worker streams at once.
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
        share: Callable[[], int] = lambda: 1,
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
        self._is_held = False
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._deadline = 0.0
        self._audience_read_at = float("-inf")
        self._audience_read_since = 0
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

    def hold(self) -> None:
        """Sends nothing more until the end: the reply is being ended, maybe without its text."""
        self._is_held = True

    async def finish(self, seconds: float) -> None:
        """Sends what is left, also to who missed something, and waits for it so long at most.

        In a full room it takes longer until everybody had their turn: 2 s at most.
        """
        turn = len(self._listeners) / POSTS_PER_SECOND
        seconds = max(seconds, min(seconds + turn, END_SECONDS))
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
        began, since = time.monotonic(), epoch_milliseconds()
        try:
            rows = await asyncio.to_thread(self._audience.subscriptions, channel_id)
        except StorageUnavailableError as error:
            log.warning("audience not read", error=type(error).__name__)
            return
        told = self._is_told()
        self._listeners = {
            row.connection_id: self._known_as(row) or _Listener(row, behind=told) for row in rows
        }
        self._audience_read_at, self._audience_read_since = began, since
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
            if self._is_held:
                continue
            if await self._send(seconds=self._pace.post, at_once=self._turn()):
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
            everybody = len(self._listeners)
            seconds = min(self._pace.post + everybody / POSTS_PER_SECOND, left)
            await self._send(seconds=seconds, at_once=everybody)
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
        by_share = self._pace.frame * self._share() / REPLIES_AT_FULL_PACE
        return max(self._pace.frame, by_audience, by_share)

    def _turn(self) -> int:
        """How many are told at a time: what the pace sends while one post may take."""
        return max(1, int(self._pace.frames_per_second * self._pace.post))

    async def _send(self, *, seconds: float, at_once: int) -> bool:
        """Sends so many of them what they lack; False where nobody lacks anything."""
        posts = self._posts(at_once)
        if not posts:
            return False
        try:
            outcome = await asyncio.to_thread(self._post, posts, seconds)
        except UnavailableError as error:
            log.warning("audience not read", error=type(error).__name__)
            self._mark_behind(posts)
            return True
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

    def _post(self, posts: Mapping[str, Post], seconds: float) -> Outcome:
        """To whoever still listens, looked at again where the list is too old to trust.

        Raises:
            UnavailableError: that cannot be said.
        """
        age = time.monotonic() - self._audience_read_at + min(seconds, TRUSTED_SECONDS)
        still = posts if age <= AUDIENCE_SECONDS else self._not_removed(posts, frozenset(posts))
        return self._broadcaster.send(
            still.values(),
            budget_seconds=seconds,
            revalidate=lambda waiting: self._not_removed(posts, waiting),
        )

    def _not_removed(
        self, posts: Mapping[str, Post], connection_ids: frozenset[str]
    ) -> dict[str, Post]:
        channel_id = self._request.channel_id
        removals = self._audience.removed_since(channel_id, self._audience_read_since)
        if removals is None:
            raise StorageBusyError("the list of listeners is too old")
        listeners = self._listeners
        return {
            each: posts[each]
            for each in connection_ids
            if not removals.closed
            and each in listeners
            and listeners[each].subscription.identity not in removals.removed
        }

    def _posts(self, at_once: int) -> dict[str, Post]:
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
            if (listener.behind or has_news)
            and listener.quiet_until <= moment
            and listener.subscription.expires_at > epoch_seconds()
        ]
        if has_news:
            for listener in self._listeners.values():
                listener.behind = listener.behind or listener.quiet_until > moment
        lacking.sort(key=lambda listener: listener.told_at)
        posts: dict[str, Post] = {}
        for listener in lacking[:at_once]:
            subscription = listener.subscription
            frame = everything if listener.behind else news
            posts[subscription.connection_id] = Post(
                subscription.connection_id, (frame,), subscription.connected_at
            )
            listener.behind = False
            listener.told_at = moment
        for listener in lacking[at_once:]:
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
