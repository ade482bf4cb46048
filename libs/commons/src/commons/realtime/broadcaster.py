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

MAX_IN_FLIGHT: Final = 96
"""Posts at once: more threads than this only contend for the interpreter (`poe bench fanout`)."""

REVALIDATE_SECONDS: Final = 0.5
"""How often what still waits is looked at again."""

TRUSTED_SECONDS: Final = 0.75
"""Past this from the last look on nothing is sent: a removed member hears nothing after 1 s, and
the list was read a moment before it got here."""

ATTEMPT_SECONDS: Final = 0.25
"""For one answer while other connections wait for a lane: those that hang cost the others little.

Where the API is slow for everybody it is longer: twice what answers have taken so far, and doubled,
twice at most, while those that do not answer are more than those that do. Asking a slow API over and
over makes it slower.
"""

LEAST_PATIENCE_SECONDS: Final = 0.5
"""For a connection whose turn comes late."""

_HANDSHAKE_GRACE_SECONDS: Final = 0.25
_HOLD_SECONDS: Final = 0.05
_BACKOFF_BASE_SECONDS: Final = 0.05
_BACKOFF_CAP_SECONDS: Final = 2.0
_MIN_TIMEOUT_SECONDS: Final = 0.05
_LANE_POLL_SECONDS: Final = 0.1
_MAX_DOUBLINGS: Final = 2
_RECENT: Final = 32
_HTTP_OK: Final = 200
_HTTP_REDIRECT: Final = 300
_HTTP_GONE: Final = 410
_HTTP_RETRYABLE: Final = frozenset({408, 429})
_HTTP_SERVER_ERROR: Final = 500
_DELETE_ATTEMPTS: Final = 3
_DELETE_TIMEOUT_SECONDS: Final = 3.0
_ASK_TIMEOUT_SECONDS: Final = 1.0
_ASKED: Final = 3


@dataclass(frozen=True, slots=True)
class Post:
    """Frames for one connection, sent in this order.

    Attributes:
        connected_at: when the connection was opened, in epoch milliseconds; 0: long ago.
        is_probe: of an older release; means nothing.
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
        failed: connections that did not take all of their frames in time.
        unready: connections that answered 410 within 10 s of connecting, not to be forgotten.
        untried: those of the failed whose turn never came, or was called off: it is not they who
            are slow.
    """

    delivered: int = 0
    gone: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    unready: frozenset[str] = frozenset()
    untried: frozenset[str] = frozenset()


type Revalidate = Callable[[frozenset[str]], Mapping[str, Post]]
"""Given the connections that still wait: what each is still to get. One left out gets nothing.

What it raises ends the sending, and is raised by `send`.
"""


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
        patience_seconds: how long a connection is waited for, from the beginning of a `send` on.
            None: to the end of the budget.
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
        self._patience_seconds = math.inf if patience_seconds is None else patience_seconds
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
            budget_seconds=budget_seconds,
            patience_seconds=self._patience_seconds,
            max_lanes=self._max_in_flight,
            revalidate=revalidate,
        )
        return fan_out.run()

    def serves(self, connection_ids: Iterable[str]) -> bool:
        """Whether the API answers what is asked about these connections (a few of them are)."""
        asked = list(itertools.islice(connection_ids, _ASKED))
        return any(self._threads.map(self._is_known, asked))

    def _is_known(self, connection_id: str) -> bool:
        try:
            status = self._api.get(connection_id, timeout=_ASK_TIMEOUT_SECONDS)
        except TransportError:
            return False
        return _HTTP_OK <= status < _HTTP_REDIRECT or status == _HTTP_GONE

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
        tried_at: when its turn came first.
        is_held: its turn was called off, because the list is too old to be trusted.
    """

    post: Post
    state: _State = _State.PENDING
    position: int = 0
    attempts: int = 0
    revision: Post | None = None
    unready_since: float | None = None
    tried_at: float | None = None
    is_held: bool = False


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
        budget_seconds: float,
        patience_seconds: float,
        max_lanes: int,
        revalidate: Revalidate | None,
    ) -> None:
        moment = time.monotonic()
        self._api = api
        self._threads = threads
        self._deadline = moment + budget_seconds
        self._patience_ends = moment + patience_seconds
        self._trusted_until = math.inf if revalidate is None else moment + TRUSTED_SECONDS
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
        # Written by all lanes without a lock: estimates.
        self._answered = 0
        self._unanswered = 0
        self._answer_seconds = 0.0

    def run(self) -> Outcome:
        for task in self._tasks.values():
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
            self._collect_reports(until=min(self._deadline, next_due, next_look))
            moment = time.monotonic()
            if moment >= self._deadline:
                for _, _, task in self._waiting:
                    task.state = _State.FAILED
                self._waiting.clear()
            elif moment >= next_look:
                self._look_again()
                next_look = time.monotonic() + REVALIDATE_SECONDS
            self._wake(time.monotonic())

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
        began = time.monotonic()
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
        self._trusted_until = began + TRUSTED_SECONDS

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
        while True:
            self._revise(task)
            if task.position == len(task.post.frames):
                task.state = _State.DELIVERED if task.post.frames else _State.DROPPED
                return
            moment = time.monotonic()
            if moment > self._trusted_until:
                task.is_held = True
                self._reports.put(_Delayed(task, moment + _HOLD_SECONDS))
                return
            task.is_held = False
            remaining = self._ends(task, moment) - moment
            if remaining <= 0:
                task.state = _State.FAILED
                return
            task.tried_at = task.tried_at or moment
            frame = task.post.frames[task.position]
            timeout = remaining if self._ready.empty() else min(remaining, self._attempt_seconds())
            try:
                status = self._api.post(
                    task.post.connection_id,
                    frame,
                    self._digests[frame],
                    timeout=max(timeout, _MIN_TIMEOUT_SECONDS),
                )
            except TransportError:
                self._unanswered += 1
                self._delay(task)
                return
            self._note_answer(time.monotonic() - moment)
            if not _HTTP_OK <= status < _HTTP_REDIRECT:
                self._settle_refusal(task, status)
                return
            task.position += 1

    def _attempt_seconds(self) -> float:
        rounds = self._unanswered // max(self._answered, self._max_lanes)
        doubled: float = ATTEMPT_SECONDS * 2 ** min(rounds, _MAX_DOUBLINGS)
        return max(doubled, 2 * self._answer_seconds)

    def _note_answer(self, seconds: float) -> None:
        self._answered += 1
        self._answer_seconds += (seconds - self._answer_seconds) / min(self._answered, _RECENT)

    def _ends(self, task: _Task, moment: float) -> float:
        """When the task is given up."""
        least = (task.tried_at or moment) + LEAST_PATIENCE_SECONDS
        return min(self._deadline, max(self._patience_ends, least))

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
            return
        moment = time.monotonic()
        if task.unready_since is None:
            task.unready_since = moment
        task.attempts += 1
        due = moment + _backoff(task.attempts)
        if due - task.unready_since >= _HANDSHAKE_GRACE_SECONDS:
            task.state = _State.UNREADY
        else:
            self._reports.put(_Delayed(task, due))

    def _delay(self, task: _Task) -> None:
        task.attempts += 1
        moment = time.monotonic()
        due = moment + _backoff(task.attempts)
        if due >= self._ends(task, moment):
            task.state = _State.FAILED
        else:
            self._reports.put(_Delayed(task, due))

    def _outcome(self) -> Outcome:
        by_state: dict[_State, set[str]] = {state: set() for state in _State}
        for connection_id, task in self._tasks.items():
            by_state[task.state].add(connection_id)
        return Outcome(
            delivered=len(by_state[_State.DELIVERED]),
            gone=frozenset(by_state[_State.GONE]),
            failed=frozenset(by_state[_State.FAILED]),
            unready=frozenset(by_state[_State.UNREADY]),
            untried=frozenset(
                each
                for each in by_state[_State.FAILED]
                if self._tasks[each].tried_at is None or self._tasks[each].is_held
            ),
        )
