"""One line a step, with its time; steps may run side by side."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Prints each step when it is done; on a terminal, what runs stands below meanwhile."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._running: list[str] = []
        self._lock = threading.Lock()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        with self._lock:
            self._running.append(name)
            self._show_running()
        outcome = "failed"
        try:
            yield
            outcome = "ok"
        finally:
            with self._lock:
                self._running.remove(name)
                self._print(f"{outcome:>6}  {time.monotonic() - started:5.1f} s  {name}")

    def note(self, text: str) -> None:
        with self._lock:
            self._print(text)

    def _print(self, line: str) -> None:
        clear = "\r\x1b[K" if self._stream.isatty() else ""
        print(f"{clear}{line}", file=self._stream, flush=True)
        self._show_running()

    def _show_running(self) -> None:
        if self._running and self._stream.isatty():
            now = ", ".join(self._running)
            print(f"\r\x1b[K   ...           {now}", end="", file=self._stream, flush=True)
