"""How many workers of which function fit into an account's quota."""

from dataclasses import dataclass

KEPT_FREE = 100
"""Lambda lets nobody reserve the last hundred of an account."""

ROOMY = 1000
"""The quota of an account that is not new. New ones begin with 10."""

AGENT_SIZES = (2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""What the parameter MaximumConcurrency takes; an event source mapping takes 2 at least."""

RESERVED_SHARE = {"RestConcurrency": 20, "ConnectConcurrency": 10, "DeliveryConcurrency": 10}
"""Percent of the quota that is kept for those that somebody waits for."""


@dataclass(frozen=True)
class Fit:
    """Parameters that fit, and what was asked for beyond them."""

    parameters: dict[str, str]
    is_reduced: bool


def crowded(size: int) -> int:
    """Workers for channels that ask much at once, beside so many of the agent (docs/adr/0061)."""
    return max(AGENT_SIZES[0], size // 5)


def fit(overrides: dict[str, str], quota: int) -> Fit:
    """The stage's wishes within the quota.

    An agent that took every worker would leave none for whoever posts and reads. So it gets a
    quarter at most, its crowd's included, and where there is room, the API, handshakes and
    delivery have their own. A reservation of the stage's own (not 0) stays.
    """
    parameters: dict[str, str] = {}
    reduced = False
    if "MaximumConcurrency" in overrides:
        wanted = int(overrides["MaximumConcurrency"])
        possible = max(
            size
            for size in AGENT_SIZES
            if size == AGENT_SIZES[0] or size + crowded(size) <= quota // 4
        )
        parameters["MaximumConcurrency"] = str(min(wanted, possible))
        reduced = possible < wanted
    for name in RESERVED_SHARE.keys() & overrides.keys():
        if int(overrides[name]) == 0 and quota >= ROOMY:
            parameters[name] = str(quota * RESERVED_SHARE[name] // 100)
    return Fit(parameters, reduced)
