"""What fits into an account's quota of functions at once."""

import pytest

from devstack.deploying.concurrency import fit

WISHES = {"MaximumConcurrency": "100", "DeliveryConcurrency": "0"}


@pytest.mark.parametrize(
    ("quota", "agent", "is_reduced"),
    [
        (10, "2", True),
        (100, "20", True),
        (400, "50", True),
        (600, "100", False),
        (3000, "100", False),
    ],
)
def test_the_agent_takes_a_quarter_of_the_account_at_most(
    quota: int, agent: str, is_reduced: bool
) -> None:
    fitting = fit(WISHES, quota)

    assert fitting.parameters["MaximumConcurrency"] == agent
    assert fitting.is_reduced == is_reduced


def test_an_account_with_room_keeps_workers_for_those_that_somebody_waits_for() -> None:
    assert fit({"RestConcurrency": "0"}, 1000).parameters == {"RestConcurrency": "200"}
    assert fit({"ConnectConcurrency": "0"}, 2000).parameters == {"ConnectConcurrency": "200"}


def test_a_new_account_reserves_nothing() -> None:
    """Lambda refuses a reservation that leaves less than a hundred to the others."""
    assert fit({"RestConcurrency": "0"}, 10).parameters == {}


def test_a_reservation_of_the_stages_own_stays() -> None:
    assert fit({"RestConcurrency": "30"}, 1000).parameters == {}
