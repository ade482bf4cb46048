"""`poe test-e2e [--rare] [PYTEST ARGUMENT …]`: the end-to-end tests against one stack of their own.

A file that is named (`tests/e2e/test_agent.py`) runs alone.

Its functions may do what their roles grant and nothing else, as on AWS.

Most wait more than they compute and run side by side; those marked `alone` measure times, kill
workers or take the stack down, and run one after the other when the rest is done. Those marked
`rare` take long and rarely find anything: they run with `--rare` alone, in CI too.
"""

import os
import subprocess
import sys

from tests.e2e.own_stack import own_stack

from devstack.config import ROOT, LocalStackConfig

SIDE_BY_SIDE = ["-n", "3", "--dist", "worksteal", "-m", "not alone and {rare}"]
ALONE = ["-m", "alone and {rare}"]
NO_TESTS_COLLECTED = 5


def main(arguments: list[str]) -> int:
    rare = "rare" if "--rare" in arguments else "not rare"
    chosen = [argument for argument in arguments if argument != "--rare"]
    phases = [[each.format(rare=rare) for each in phase] for phase in (SIDE_BY_SIDE, ALONE)]
    with own_stack("e2e") as stack:
        codes = [_pytest(stack.config, [*phase, *chosen]) for phase in phases]
    return max((code for code in codes if code != NO_TESTS_COLLECTED), default=NO_TESTS_COLLECTED)


def _pytest(config: LocalStackConfig, arguments: list[str]) -> int:
    environment = {
        **os.environ,
        "CHAT_E2E": "running",
        "CHAT_PORT": str(config.port),
        "CHAT_LOCAL_DIR": str(config.local_dir),
        "CHAT_ENFORCE_RIGHTS": "true",
    }
    is_named = any(argument.startswith("tests/") for argument in arguments)
    where = [] if is_named else ["tests/e2e"]
    tests = [sys.executable, "-m", "pytest", *where, "--durations=30", *arguments]
    return subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
