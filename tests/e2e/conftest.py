"""The local stack, brought up once a session, and who talks to it.

Each session has a fresh stack of its own, beside any that runs already; with `CHAT_E2E=running` it
uses the one that `poe up` brought up, and leaves it up.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.e2e.clients import Redeploy, RestClient, Socket, open_socket
from tests.e2e.own_stack import own_stack
from tests.e2e.redeploying import deploy_changed

from devstack.config import LocalStackConfig
from devstack.local_stack import LocalStack
from devstack.outputs import Outputs

SECONDS = 600
"""A test's time here: the first one's holds the stack's start as well."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.fixture(scope="session")
def local_stack() -> Iterator[LocalStack]:
    if os.environ.get("CHAT_E2E") == "running":
        yield LocalStack(LocalStackConfig())
        return
    with own_stack("e2e") as stack:
        yield stack


@pytest.fixture(scope="session")
def outputs(local_stack: LocalStack) -> Outputs:
    return local_stack.outputs()


@pytest.fixture(scope="session")
def rest_url(outputs: Outputs) -> str:
    return outputs.rest_url


@pytest.fixture(scope="session")
def websocket_url(outputs: Outputs) -> str:
    return outputs.websocket_url


@pytest.fixture(scope="session")
def jwks_url(outputs: Outputs) -> str:
    return outputs.jwks_url


@pytest.fixture(scope="session")
def token(local_stack: LocalStack, outputs: Outputs) -> Callable[[str], str]:
    """Answers a JWT for a user, who is created if new."""
    return local_stack.users(outputs).token


@pytest.fixture(scope="session")
def client_of(rest_url: str, token: Callable[[str], str]) -> Iterator[Callable[[str], RestClient]]:
    """Answers the REST client of a user, the same each time."""
    clients: dict[str, RestClient] = {}

    def client(user: str) -> RestClient:
        if user not in clients:
            clients[user] = RestClient(rest_url, token(user))
        return clients[user]

    yield client
    for opened in clients.values():
        opened.http.close()


@pytest.fixture(scope="session")
def alice(client_of: Callable[[str], RestClient]) -> RestClient:
    return client_of("alice")


@pytest.fixture(scope="session")
def bob(client_of: Callable[[str], RestClient]) -> RestClient:
    return client_of("bob")


@pytest.fixture(scope="session")
def carol(client_of: Callable[[str], RestClient]) -> RestClient:
    return client_of("carol")


@pytest.fixture(scope="session")
def connect(websocket_url: str) -> Callable[..., AbstractContextManager[Socket]]:
    """Opens a socket of a client's user with a fresh ticket, subscribed to channels."""

    def opened(
        client: RestClient, channels: list[str] | None = None
    ) -> AbstractContextManager[Socket]:
        query = {"ticket": client.ticket()}
        if channels:
            query["channels"] = ",".join(channels)
        return open_socket(websocket_url, urlencode(query, safe=","))

    return opened


@pytest.fixture
def redeploy(local_stack: LocalStack) -> Iterator[Redeploy]:
    """Deploys a stack with other values for those parameters that it has; at the end as it was."""
    yield partial(deploy_changed, local_stack)
    local_stack.up()
