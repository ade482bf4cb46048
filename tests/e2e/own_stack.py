"""A local stack for one run of tests, beside any that runs already."""

from collections.abc import Iterator
from contextlib import contextmanager

from devstack.config import ROOT, LocalStackConfig
from devstack.local_stack import LocalStack
from devstack.processes import free_port

E2E_PORT = 4666
"""Preferred, far from the default port and its neighbours."""


@contextmanager
def own_stack(name: str) -> Iterator[LocalStack]:
    """Fresh; its functions may do what their roles grant and nothing else, as on AWS.

    Args:
        name: of its folder below `.local`.
    """
    stack = LocalStack(
        LocalStackConfig(
            port=free_port(E2E_PORT), local_dir=ROOT / ".local" / name, enforce_rights=True
        )
    )
    stack.reset()
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
