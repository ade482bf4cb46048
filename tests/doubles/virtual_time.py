"""Many threads in a time that only passes where all of them wait: the same each run, and in no time."""

import heapq
import random
import threading
from collections.abc import Callable
from itertools import count


class VirtualTime:
    """Runs one thread at a time, whichever is due first.

    Args:
        seed: of the chances that everything that happens in it takes.
    """

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self._due: list[tuple[float, int, threading.Event]] = []
        self._order = count()
        self._own = threading.local()
        self._ended = threading.Event()
        self._failure: BaseException | None = None

    def begin(self, task: Callable[[], object]) -> None:
        """A thread that begins when `run` is called."""
        turn = threading.Event()

        def run() -> None:
            turn.wait()
            turn.clear()
            self._own.turn = turn
            try:
                task()
            except BaseException as failure:  # noqa: BLE001 - told by `run`
                self._failure = self._failure or failure
            self._pass_on()

        threading.Thread(target=run, daemon=True).start()
        self._wake(turn, 0.0)

    def run(self) -> None:
        """Until every thread has ended; raises what one of them did."""
        self._pass_on()
        self._ended.wait()
        if self._failure is not None:
            raise self._failure

    def sleep(self, seconds: float) -> None:
        turn: threading.Event = self._own.turn
        self._wake(turn, self.now + seconds)
        self._pass_on()
        turn.wait()
        turn.clear()

    def _wake(self, turn: threading.Event, moment: float) -> None:
        heapq.heappush(self._due, (moment, next(self._order), turn))

    def _pass_on(self) -> None:
        if not self._due or self._failure is not None:
            self._ended.set()
            return
        self.now, _, turn = heapq.heappop(self._due)
        turn.set()
