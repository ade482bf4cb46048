"""Frames to many connections at once: bounded threads, back-off, no connection waits for another."""

import heapq
import itertools
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum, auto
from hashlib import sha256
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from boto3.session import Session

from commons.clock import epoch_milliseconds
from commons.observability import log
from commons.realtime.callback_api import CallbackApi, TransportError
from commons.records.connection import HANDSHAKE_SECONDS

BUDGET_SECONDS: Final = 10.0
"""The retry budget of a push (CONTRACT, *Delivery*)."""

MAX_IN_FLIGHT: Final = 64
"""Posts at once: more threads than this only contend for the interpreter (`poe bench fanout`)."""

REVALIDATE_SECONDS: Final = 0.75
"""How often what still waits is looked at again: a removed member hears nothing after 1 s."""

PROBE_SECONDS: Final = 0.5
"""For the one attempt at a connection that failed before."""

_RECENTLY_SECONDS: Final = 10.0
_HANDSHAKE_GRACE_SECONDS: Final = 0.25
_BACKOFF_BASE_SECONDS: Final = 0.05
_BACKOFF_CAP_SECONDS: Final = 2.0
_MIN_TIMEOUT_SECONDS: Final = 0.05
_LANE_POLL_SECONDS: Final = 0.1
_HTTP_OK: Final = 200
_HTTP_REDIRECT: Final = 300
_HTTP_GONE: Final = 410
_HTTP_RETRYABLE: Final = frozenset({408, 429})
_HTTP_SERVER_ERROR: Final = 500
_DELETE_ATTEMPTS: Final = 3
_DELETE_TIMEOUT_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Post:
    """Frames for one connection, sent in this order.

    Attributes:
        connected_at: when the connection was opened, in epoch milliseconds; 0: long ago.
        is_probe: tried once, after all others: it failed before.
    """

    connection_id: str
    frames: tuple[bytes, ...]
    connected_at: int = 0
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the posts.

    Attributes:
        delivered: connections that took all of their frames.
        gone: connections that do not exist any more, to be forgotten.
        failed: connections that did not take all of their frames within the budget.
        unready: connections that answered 410 within 10 s of connecting, not to be forgotten.
    """

    delivered: int = 0
    gone: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    unready: frozenset[str] = frozenset()


type Revalidate = Callable[[frozenset[str]], Mapping[str, Post]]
"""Given the connections that still wait: what each is still to get. One left out gets nothing."""


_NOTHING: Final = Post("", ())


class IBroadcaster(Protocol):
    """Sends frames to connections."""

    def send(
        self,
        posts: Iterable[Post],
        *,
        budget_seconds: float = BUDGET_SECONDS,
        revalidate: Revalidate | None = None,
    ) -> Outcome:
        """Sends every post, trying again within the budget; never raises for what HTTP does.

        A connection's frames arrive in order, some maybe twice. Several posts for one connection
        count as one.
        """
        ...

    def delete_connection(self, connection_id: str) -> bool:
        """Closes a connection; False where that could not be done."""
        ...


class Broadcaster:
    """IBroadcaster over API Gateway's management API; safe for threads, meant to live long.

    Args:
        callback_url: `https://…/{stage}`, without a slash at the end.
        session: where credentials and the region come from; by default the environment.
        api: instead of the one built from `callback_url` and `session`.
        patience_seconds: how long a `send` goes on once no connection takes anything any more,
            while the API works: it served somebody in this `send`, or within 10 s before. None:
            to the end of the budget.
    """

    def __init__(
        self,
        callback_url: str,
        *,
        session: Session | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        api: CallbackApi | None = None,
        patience_seconds: float | None = None,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._served_at = -math.inf
        self._api = api or CallbackApi(callback_url, session=session)
        self._max_in_flight = max_in_flight
        self._threads = ThreadPoolExecutor(max_in_flight, thread_name_prefix="post")

    def send(
        self,
        posts: Iterable[Post],
        *,
        budget_seconds: float = BUDGET_SECONDS,
        revalidate: Revalidate | None = None,
    ) -> Outcome:
        merged = one_per_connection(posts)
        if not merged:
            return Outcome()
        fan_out = _FanOut(
            self._api,
            self._threads,
            merged,
            deadline=time.monotonic() + budget_seconds,
            max_lanes=self._max_in_flight,
            revalidate=revalidate,
            patience_seconds=math.inf if self._patience_seconds is None else self._patience_seconds,
            api_works=time.monotonic() - self._served_at < _RECENTLY_SECONDS,
        )
        outcome = fan_out.run()
        if outcome.delivered or outcome.gone:
            self._served_at = time.monotonic()
        return outcome

    def delete_connection(self, connection_id: str) -> bool:
        for attempt in range(_DELETE_ATTEMPTS):
            if attempt:
                time.sleep(_backoff(attempt))
            try:
                status = self._api.delete(connection_id, timeout=_DELETE_TIMEOUT_SECONDS)
            except TransportError:
                continue
            if _HTTP_OK <= status < _HTTP_REDIRECT or status == _HTTP_GONE:
                return True
            if not _is_retryable(status):
                break
        return False


def one_per_connection(posts: Iterable[Post]) -> dict[str, Post]:
    """The posts by connection, the frames of several for one joined; empty ones left out."""
    merged: dict[str, Post] = {}
    for post in posts:
        if not post.frames:
            continue
        earlier = merged.get(post.connection_id)
        merged[post.connection_id] = (
            post if earlier is None else replace(post, frames=earlier.frames + post.frames)
        )
    return merged


def _backoff(attempt: int) -> float:
    """Full jitter: anything up to a bound that doubles with each attempt."""
    bound = min(_BACKOFF_CAP_SECONDS, _BACKOFF_BASE_SECONDS * 2**attempt)
    return random.uniform(0, bound)  # noqa: S311 - spreads load, guards nothing


def _is_retryable(status: int) -> bool:
    return status in _HTTP_RETRYABLE or status >= _HTTP_SERVER_ERROR


class _State(Enum):
    PENDING = auto()
    DELIVERED = auto()
    GONE = auto()
    UNREADY = auto()
    FAILED = auto()
    DROPPED = auto()


@dataclass(slots=True, eq=False)
class _Task:
    """One connection's post under way.

    Attributes:
        position: the first frame not taken yet.
        revision: what the caller wants sent instead, seen by the lane before its next frame.
        unready_since: when the connection first answered as if its handshake still ran.
        is_tried: whether a lane has begun with it.
    """

    post: Post
    state: _State = _State.PENDING
    position: int = 0
    attempts: int = 0
    revision: Post | None = None
    unready_since: float | None = None
    is_tried: bool = False


@dataclass(slots=True)
class _Delayed:
    """A task that is to be tried again at a moment of the monotonic clock."""

    task: _Task
    due: float


@dataclass(slots=True)
class _LaneEnded:
    """A lane found nothing ready; `error` is what no lane should meet."""

    error: BaseException | None = None


class _FanOut:
    """One `send`: lanes (threads) take tasks that are ready, the caller's thread keeps the others.

    A task that has to wait lies in `_waiting`, so its lane is free for another connection.
    """

    def __init__(
        self,
        api: CallbackApi,
        threads: ThreadPoolExecutor,
        posts: Mapping[str, Post],
        *,
        deadline: float,
        max_lanes: int,
        revalidate: Revalidate | None,
        patience_seconds: float,
        api_works: bool,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._api_works = api_works
        self._progress_at = time.monotonic()
        self._api = api
        self._threads = threads
        self._deadline = deadline
        self._max_lanes = max_lanes
        self._revalidate = revalidate
        self._tasks = {connection_id: _Task(post) for connection_id, post in posts.items()}
        self._ready: SimpleQueue[_Task] = SimpleQueue()
        self._reports: SimpleQueue[_Delayed | _LaneEnded] = SimpleQueue()
        self._waiting: list[tuple[float, int, _Task]] = []
        self._tie_breaker = itertools.count()
        self._lanes = 0
        self._digests: dict[bytes, str] = {}
        self._refusals: set[int] = set()

    def run(self) -> Outcome:
        for task in sorted(self._tasks.values(), key=lambda task: task.post.is_probe):
            self._digest(task.post)
            self._ready.put(task)
        self._open_lanes(len(self._tasks))
        try:
            self._coordinate()
        finally:
            # Lanes that still run, because something was raised here, stop before their next frame.
            self._deadline = 0.0
        if self._refusals:
            log.warning("callback api refused frames", statuses=sorted(self._refusals))
        return self._outcome()

    def _coordinate(self) -> None:
        next_look = time.monotonic() + REVALIDATE_SECONDS
        while self._lanes or self._waiting:
            next_due = self._waiting[0][0] if self._waiting else self._deadline
            self._collect_reports(
                until=min(self._deadline, next_due, next_look, self._patience_ends())
            )
            moment = time.monotonic()
            if self._is_in_vain(moment):
                self._deadline = min(self._deadline, moment)
            if moment >= self._deadline:
                for _, _, task in self._waiting:
                    task.state = _State.FAILED
                self._waiting.clear()
            elif moment >= next_look:
                self._look_again()
                next_look = time.monotonic() + REVALIDATE_SECONDS
            self._wake(moment)

    def _patience_ends(self) -> float:
        """Where the API serves nobody, it is waited for as long as the budget lasts."""
        return self._progress_at + self._patience_seconds if self._api_works else math.inf

    def _is_in_vain(self, moment: float) -> bool:
        """Everybody had their chance, and those who are left have not taken anything for long."""
        return moment >= self._patience_ends() and all(
            task.is_tried for task in self._tasks.values() if task.state is _State.PENDING
        )

    def _note_progress(self) -> None:
        self._progress_at = time.monotonic()

    def _collect_reports(self, *, until: float) -> None:
        remaining = until - time.monotonic()
        try:
            # Past the deadline only lanes are waited for, and each ends by its own time-out.
            report = self._reports.get(timeout=remaining if remaining > 0 else _LANE_POLL_SECONDS)
            while True:
                self._take(report)
                report = self._reports.get_nowait()
        except Empty:
            return

    def _take(self, report: _Delayed | _LaneEnded) -> None:
        if isinstance(report, _Delayed):
            heapq.heappush(self._waiting, (report.due, next(self._tie_breaker), report.task))
            return
        self._lanes -= 1
        if report.error is not None:
            raise report.error

    def _wake(self, moment: float) -> None:
        """Makes ready what is due; a lane that ended while something became ready is replaced."""
        while self._waiting and self._waiting[0][0] <= moment:
            self._ready.put(heapq.heappop(self._waiting)[2])
        self._open_lanes(self._ready.qsize() - self._lanes)

    def _open_lanes(self, wanted: int) -> None:
        for _ in range(min(wanted, self._max_lanes - self._lanes)):
            self._lanes += 1
            self._threads.submit(self._run_lane)

    def _look_again(self) -> None:
        if self._revalidate is None:
            return
        pending = {
            connection_id: task
            for connection_id, task in self._tasks.items()
            if task.state is _State.PENDING
        }
        revisions = self._revalidate(frozenset(pending)) if pending else {}
        for connection_id, task in pending.items():
            revision = revisions.get(connection_id, _NOTHING)
            self._digest(revision)
            task.revision = revision

    def _digest(self, post: Post) -> None:
        for frame in post.frames:
            if frame not in self._digests:
                self._digests[frame] = sha256(frame).hexdigest()

    def _run_lane(self) -> None:
        error: BaseException | None = None
        try:
            while True:
                self._attempt(self._ready.get_nowait())
        except Empty:
            pass
        except BaseException as unexpected:  # noqa: BLE001 - raised again in the caller's thread
            error = unexpected
        self._reports.put(_LaneEnded(error))

    def _attempt(self, task: _Task) -> None:
        """Sends the task's frames from its position on, until one is not taken."""
        if not task.is_tried:
            self._note_progress()
            task.is_tried = True
        while True:
            self._revise(task)
            if task.position == len(task.post.frames):
                task.state = _State.DELIVERED if task.post.frames else _State.DROPPED
                return
            remaining = self._deadline - time.monotonic()
            if remaining <= 0:
                task.state = _State.FAILED
                return
            frame = task.post.frames[task.position]
            try:
                status = self._api.post(
                    task.post.connection_id,
                    frame,
                    self._digests[frame],
                    timeout=max(min(remaining, self._patience_with(task)), _MIN_TIMEOUT_SECONDS),
                )
            except TransportError:
                self._delay(task)
                return
            if not _HTTP_OK <= status < _HTTP_REDIRECT:
                self._settle_refusal(task, status)
                return
            task.position += 1
            self._api_works = True
            self._note_progress()

    def _patience_with(self, task: _Task) -> float:
        """Seconds to wait for one answer."""
        return PROBE_SECONDS if task.post.is_probe else self._patience_seconds

    def _revise(self, task: _Task) -> None:
        revision, task.revision = task.revision, None
        if revision is None:
            return
        if revision.frames != task.post.frames:
            task.position = 0
        task.post = revision

    def _settle_refusal(self, task: _Task, status: int) -> None:
        if status == _HTTP_GONE:
            self._settle_gone(task)
        elif _is_retryable(status):
            self._delay(task)
        else:
            self._refusals.add(status)
            task.state = _State.FAILED

    def _settle_gone(self, task: _Task) -> None:
        if epoch_milliseconds() - task.post.connected_at >= HANDSHAKE_SECONDS * 1_000:
            task.state = _State.GONE
            self._api_works = True
            return
        moment = time.monotonic()
        if task.unready_since is None:
            task.unready_since = moment
        if moment - task.unready_since >= _HANDSHAKE_GRACE_SECONDS:
            task.state = _State.UNREADY
        else:
            self._delay(task)

    def _delay(self, task: _Task) -> None:
        if task.post.is_probe:
            task.state = _State.FAILED
            return
        task.attempts += 1
        self._reports.put(_Delayed(task, time.monotonic() + _backoff(task.attempts)))

    def _outcome(self) -> Outcome:
        by_state: dict[_State, set[str]] = {state: set() for state in _State}
        for connection_id, task in self._tasks.items():
            by_state[task.state].add(connection_id)
        return Outcome(
            delivered=len(by_state[_State.DELIVERED]),
            gone=frozenset(by_state[_State.GONE]),
            failed=frozenset(by_state[_State.FAILED]),
            unready=frozenset(by_state[_State.UNREADY]),
        )
