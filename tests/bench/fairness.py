"""How long writes of every kind take while many post into one channel without a pause.

In virtual time: the figures depend on no machine. `poe bench writers` measures the running stack.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from statistics import median, quantiles
from typing import Final

from tests.doubles.crowd import Crowd, CrowdWrite, FarTables, Line, OneServer
from tests.doubles.virtual_time import VirtualTime

POSTERS: Final = 10
LIMIT_SECONDS: Final = 2.0
"""The budget of the 99th percentile."""

LINES: Final[Mapping[str, Callable[[VirtualTime], Line]]] = {
    "as on AWS": FarTables,
    "as on the emulator": OneServer,
}


def run() -> list[dict[str, object]]:
    """A row a kind of write."""
    return [
        _row(where, kind, writes)
        for where, line in LINES.items()
        for kind, writes in _by_kind(Crowd(line, seed=1, posters=POSTERS).run()).items()
    ]


def _by_kind(writes: list[CrowdWrite]) -> dict[str, list[CrowdWrite]]:
    by_kind: dict[str, list[CrowdWrite]] = defaultdict(list)
    for write in writes:
        by_kind[write.kind].append(write)
    return by_kind


def _row(where: str, kind: str, writes: list[CrowdWrite]) -> dict[str, object]:
    seconds = [write.seconds for write in writes]
    p99 = quantiles(seconds, n=100)[98]
    return {
        "tables": where,
        "write": kind,
        "times": len(writes),
        "p50 ms": round(median(seconds) * 1_000),
        "p99 ms": round(p99 * 1_000),
        "max ms": round(max(seconds) * 1_000),
        "lost tries": round(sum(write.lost_tries for write in writes) / len(writes), 2),
        "most lost": max(write.lost_tries for write in writes),
        "lost WCU an append": round(sum(write.lost_units for write in writes) / len(writes), 2),
        "met": "yes" if p99 <= LIMIT_SECONDS else "NO",
    }
