"""One line a step, with its time; steps may run side by side."""

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

TICK_SECONDS: Final = 1.0
SIGN_OF_LIFE_SECONDS: Final = 10.0
"""Where nothing can be written over, a step that takes long is named this often."""

_CLEAR: Final = "\r\x1b[K"


class Progress:
    """Prints each step when it is done, and meanwhile what runs and for how long.

    A terminal shows that in one line, which is cut at its width; elsewhere it is a line now and then.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        tick: float = TICK_SECONDS,
        sign_of_life: float = SIGN_OF_LIFE_SECONDS,
    ) -> None:
        self._stream = stream or sys.stdout
        self._tick = tick
        self._sign_of_life = sign_of_life
        self._running: dict[str, float] = {}
        self._said = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        with self._lock:
            is_first = not self._running
            self._running[name] = started
            if is_first:
                self._said = started
                threading.Thread(target=self._show_life, daemon=True).start()
            self._show_running()
        outcome = "failed"
        try:
            yield
            outcome = "ok"
        finally:
            with self._lock:
                del self._running[name]
                self._print(f"{outcome:>6}  {time.monotonic() - started:5.1f} s  {name}")

    def note(self, text: str) -> None:
        with self._lock:
            self._print(text)

    def _show_life(self) -> None:
        """Until nothing runs any more."""
        woken = threading.Event()
        while not woken.wait(self._tick):
            with self._lock:
                if not self._running:
                    return
                if self._stream.isatty():
                    self._show_running()
                elif time.monotonic() - self._said >= self._sign_of_life:
                    print(self._now(), file=self._stream, flush=True)
                    self._said = time.monotonic()

    def _print(self, line: str) -> None:
        clear = _CLEAR if self._stream.isatty() else ""
        print(f"{clear}{line}", file=self._stream, flush=True)
        self._said = time.monotonic()
        self._show_running()

    def _show_running(self) -> None:
        if self._running and self._stream.isatty():
            width = shutil.get_terminal_size().columns
            now = self._now()
            # One column short: a terminal may go to the next line when the last one is written.
            line = now if len(now) < width else f"{now[: width - 2]}…"
            print(f"{_CLEAR}{line}", end="", file=self._stream, flush=True)

    def _now(self) -> str:
        longest = time.monotonic() - min(self._running.values())
        return f"   ...  {longest:5.0f} s  {', '.join(self._running)}"
