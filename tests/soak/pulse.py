"""How soon the machine answers: seconds count only where there is time for them."""

import threading
import time

from commons import keys
from commons.dal import IRepository, Table

PAUSE_SECONDS = 0.2
SLOW_SECONDS = 0.4
"""One read of storage takes some ten milliseconds; a reply's worker needs a few within two seconds."""


class Pulse(threading.Thread):
    """Reads a row again and again, and remembers when that took long."""

    def __init__(self, repository: IRepository) -> None:
        super().__init__(daemon=True)
        self._repository = repository
        self._over = threading.Event()
        self._slow: list[tuple[float, float]] = []
        self.count = 0

    def run(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            began = time.time()
            self._repository.find(Table.CHANNELS, keys.channel_key("pulse"), consistent=True)
            self.count += 1
            if time.time() - began > SLOW_SECONDS:
                self._slow.append((began, time.time()))

    def end(self) -> None:
        self._over.set()
        self.join()

    def was_slow(self, since: float, until: float) -> bool:
        return any(began <= until and ended >= since for began, ended in list(self._slow))

    @property
    def slow_count(self) -> int:
        return len(self._slow)
