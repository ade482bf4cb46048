"""Ten who post into one channel without a pause leave room for one another, and for its owner."""

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from statistics import quantiles

import pytest
from tests.doubles.crowd import Crowd, CrowdWrite, FarTables, Line, OneServer
from tests.doubles.virtual_time import VirtualTime

LIMIT_SECONDS = 2.0
"""Of the 99th percentile."""

MOST_LOST_TRIES = 1.75
MOST_LOST_UNITS = 6.0
"""An append."""


type Between = Callable[[VirtualTime], Line]

LINES = pytest.mark.parametrize("line", [FarTables, OneServer])


@cache
def writes_over(line: Between) -> list[CrowdWrite]:
    return [write for seed in (1, 2) for write in Crowd(line, seed=seed).run()]


@LINES
def test_every_kind_of_write_is_done_within_two_seconds(line: Between) -> None:
    seconds: dict[str, list[float]] = defaultdict(list)
    for write in writes_over(line):
        seconds[write.kind].append(write.seconds)

    assert seconds.keys() == {
        "post",
        "post with an id",
        "edit",
        "react",
        "delete",
        "add a member",
        "remove a member",
    }
    p99 = {kind: quantiles(took, n=100)[98] for kind, took in seconds.items()}
    assert {kind: each for kind, each in p99.items() if each > LIMIT_SECONDS} == {}


@LINES
def test_an_append_loses_fewer_than_two_tries_and_six_write_units(line: Between) -> None:
    writes = writes_over(line)

    assert sum(write.lost_tries for write in writes) / len(writes) <= MOST_LOST_TRIES
    assert sum(write.lost_units for write in writes) / len(writes) <= MOST_LOST_UNITS
