"""Kills and stops the emulator's workers at random, and remembers when."""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import psutil

from devstack.local_stack import LocalStack

EVERY_KIND = (
    "rest_api",
    "rest_authorizer",
    "websocket_connect",
    "websocket_disconnect",
    "websocket_sendmessage",
    "websocket_session",
    "workers_agent",
    "workers_agent_dispatcher",
    "workers_delivery",
    "workers_presence",
    "workers_timer",
    "workers_tools",
)
STOPPED_SECONDS = (1.0, 5.0)
MARGIN = 0.5
"""Seconds: a killed worker is noticed by whoever uses it next."""


@dataclass(slots=True)
class Hit:
    """What was done to one worker.

    Attributes:
        began: epoch seconds.
        ended: when it was killed, or ran again.
    """

    function: str
    kind: Literal["killed", "stopped"]
    began: float
    ended: float


class Reaper(threading.Thread):
    """Hits a worker of a random function after each pause, until it is told to end.

    Args:
        stack: whose workers.
        rng: chooses whom, when and how.
        functions: of which functions.
        pause: seconds between two hits; two figures: at random between them.
        stops: whether workers are stopped for a while as well; else they are only killed.
    """

    def __init__(
        self,
        stack: LocalStack,
        rng: random.Random,
        *,
        functions: Sequence[str] = EVERY_KIND,
        pause: tuple[float, float] = (0.5, 2.5),
        stops: bool = True,
    ) -> None:
        super().__init__(daemon=True)
        self._stack = stack
        self._rng = rng
        self._functions = functions
        self._pause = pause
        self._stops = stops
        self._over = threading.Event()
        self._resuming: list[threading.Timer] = []
        self.hits: list[Hit] = []

    def run(self) -> None:
        while not self._over.wait(self._rng.uniform(*self._pause)):
            self._hit(self._rng.choice(self._functions))

    def end(self) -> None:
        """Nobody is hit any more, and who was stopped runs again."""
        self._over.set()
        self.join()
        for timer in self._resuming:
            timer.join()

    @property
    def last(self) -> float:
        """Epoch seconds of the last hit's end; 0 before the first."""
        return max((hit.ended for hit in list(self.hits)), default=0.0)

    def has_hit(self, function: str, since: float, until: float) -> bool:
        """Whether a worker of a function was killed or stopped in that time."""
        return any(
            function == hit.function and hit.began <= until and hit.ended >= since - MARGIN
            for hit in list(self.hits)
        )

    def summary(self) -> str:
        counted = Counter(f"{hit.function} {hit.kind}" for hit in self.hits)
        return ", ".join(f"{count} {what}" for what, count in sorted(counted.items()))

    def _hit(self, function: str) -> None:
        workers = self._stack.workers_of(function)
        if not workers:
            return
        worker = self._rng.choice(workers)
        is_stop = self._stops and self._rng.random() < 0.5
        seconds = self._rng.uniform(*STOPPED_SECONDS)
        with contextlib.suppress(psutil.NoSuchProcess):
            now = time.time()
            if is_stop:
                worker.suspend()
                self.hits.append(Hit(function, "stopped", now, now + seconds))
                self._later(seconds, worker.resume)
            else:
                worker.kill()
                self.hits.append(Hit(function, "killed", now, now))

    def _later(self, seconds: float, resume: Callable[[], None]) -> None:
        def resumed() -> None:
            with contextlib.suppress(psutil.NoSuchProcess):
                resume()

        timer = threading.Timer(seconds, resumed)
        self._resuming.append(timer)
        timer.start()
