"""`poe soak KIND [--seconds N] [--seed N] [--running]`: hardship for the local stack.

`workers`: workers of all functions are killed and stopped while people talk. `agents`: a worker of the
agent is killed every 5 s while people ask. `rush`: a thousand questions at once. Prints what it saw, and
exits 1 where a promise was not kept (a rush takes some ten minutes on two cores: `--seconds 600`). It brings up a stack of its own; with `--running` it takes the one
that `poe up` brought up.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.e2e.own_stack import own_stack
from tests.soak.agents import soak_agents
from tests.soak.rush import soak_rush
from tests.soak.workers import soak_workers

from devstack.config import LocalStackConfig
from devstack.local_stack import LocalStack

SOAKS: dict[str, Callable[..., list[str]]] = {
    "agents": soak_agents,
    "rush": soak_rush,
    "workers": soak_workers,
}
SHOWN = 40
"""Violations that are printed."""


@contextmanager
def _stack(*, is_running: bool) -> Iterator[LocalStack]:
    if is_running:
        yield LocalStack(LocalStackConfig())
        return
    with own_stack("soak") as stack:
        yield stack


def main() -> int:
    parser = argparse.ArgumentParser(prog="poe soak", description=__doc__)
    parser.add_argument("kind", choices=sorted(SOAKS))
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--running", action="store_true")
    given = parser.parse_args()
    print(f"{given.kind}: {given.seconds:.0f} s, seed {given.seed}", flush=True)
    with _stack(is_running=given.running) as stack:
        violations = SOAKS[given.kind](stack, seconds=given.seconds, seed=given.seed)
    for violation in violations[:SHOWN]:
        print(f"VIOLATED  {violation}")
    print(f"{len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
