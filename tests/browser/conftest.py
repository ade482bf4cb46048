from collections.abc import Callable, Iterator

import pytest
from tests.browser.cable import Cable
from tests.browser.playground import USERS, Playground, token_of
from tests.browser.window import IS_INSTALLED, WHY_NOT, Window, window
from tests.e2e.clients import RestClient

from commons.services import base
from websocket_connect import handler as websocket_connect
from websocket_disconnect import handler as websocket_disconnect
from websocket_sendmessage import handler as websocket_sendmessage
from websocket_session import handler as websocket_session

ENVIRONMENT = {
    "WEBSOCKET_CALLBACK_URL": "http://127.0.0.1:9",
    "JWT_ISSUER": "https://issuer.example/pool",
    "JWT_AUDIENCE": "client-1",
    "JWT_JWKS_URL": "http://127.0.0.1:9/jwks.json",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not IS_INSTALLED:
        for item in items:
            if "browser" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason=WHY_NOT))


@pytest.fixture
def playground(monkeypatch: pytest.MonkeyPatch) -> Iterator[Playground]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    playground = Playground()
    monkeypatch.setattr(base, "default_repository", lambda: playground.repository)
    with playground.running():
        yield playground
    for handler in (
        websocket_connect,
        websocket_disconnect,
        websocket_sendmessage,
        websocket_session,
    ):
        for value in vars(handler).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


@pytest.fixture
def people(playground: Playground) -> Iterator[dict[str, RestClient]]:
    """The REST clients of the playground's users."""
    clients = {user: RestClient(playground.url, token_of(user)) for user in USERS}
    yield clients
    for client in clients.values():
        client.http.close()


@pytest.fixture(scope="session")
def cable() -> Iterator[Cable]:
    with Cable().laid() as cable:
        yield cable


@pytest.fixture(scope="session")
def browsers(cable: Cable) -> Iterator[dict[str, Window]]:
    """Two browsers, one a person, for all tests: starting one takes seconds."""
    with window() as first, window(proxy=cable.address) as second:
        yield {"alice": first, "bob": second}


type SignIn = Callable[[str], Window]


@pytest.fixture
def signed_in(browsers: dict[str, Window], playground: Playground, cable: Cable) -> SignIn:
    """Opens the page in a person's browser, signed in; bob's hangs on the cable."""
    cable.mend()

    def sign_in(user: str) -> Window:
        opened = browsers[user]
        opened.resize(1280, 860)
        opened.prefer("light")
        opened.open("about:blank")
        opened.open(f"{playground.url}/")
        opened.driver.execute_script("localStorage.clear(); sessionStorage.clear()")
        opened.open(f"{playground.url}/")
        opened.sign_in_as(user)
        _ = opened.complaints  # those before do not count
        return opened

    return sign_in
