"""A short soak of the kind that `poe soak` runs for minutes."""

import pytest
from tests.soak.workers import soak_workers

from devstack.local_stack import LocalStack

SECONDS = 40.0


@pytest.mark.alone
@pytest.mark.rare
def test_what_was_promised_holds_while_workers_die_and_stall(local_stack: LocalStack) -> None:
    assert soak_workers(local_stack, seconds=SECONDS, seed=1) == []
