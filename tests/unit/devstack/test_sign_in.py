"""Demo users are signed in for the page of their own stack, and for nobody else."""

import threading
from collections.abc import Iterator

import httpx
import pytest

from devstack.sign_in.server import SignInServer

ORIGIN = "http://127.0.0.1:4566"


def token_of(user: str) -> str:
    if user == "bob":
        raise RuntimeError("no stack")
    return f"token of {user}"


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    server = SignInServer(0, origins=[ORIGIN], users=["alice", "bob"], token_of=token_of)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with httpx.Client(base_url=server.url) as opened:
        yield opened
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_page_of_the_stack_gets_a_token_of_a_demo_user(client: httpx.Client) -> None:
    users = client.get("/users", headers={"Origin": ORIGIN})
    answer = client.post("/token", json={"user": "alice"}, headers={"Origin": ORIGIN})

    assert users.json() == {"users": ["alice", "bob"]}
    assert answer.json() == {"token": "token of alice"}
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["cache-control"] == "no-store"


def test_a_browser_may_ask_first(client: httpx.Client) -> None:
    answer = client.options("/token", headers={"Origin": ORIGIN})

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-headers"] == "content-type"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://elsewhere.example.com"},
        {"Origin": "null"},
        {"Origin": ORIGIN, "Host": "rebound.example.com"},
    ],
)
@pytest.mark.parametrize("method", ["OPTIONS", "GET", "POST"])
def test_any_other_page_gets_nothing(
    client: httpx.Client, method: str, headers: dict[str, str]
) -> None:
    path = "/users" if method == "GET" else "/token"

    answer = client.request(method, path, headers=headers, json={"user": "alice"})

    assert answer.status_code == 403
    assert "token" not in answer.text


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b'{"user": "carol"}', "application/json"),
        (b'{"user": "alice"}', "text/plain"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"", "application/json"),
        (b'{"user": "alice"}' + b" " * 1_000, "application/json"),
    ],
)
def test_what_names_no_demo_user_gets_no_token(
    client: httpx.Client, content: bytes, media_type: str
) -> None:
    headers = {"Origin": ORIGIN, "Content-Type": media_type}

    answer = client.post("/token", content=content, headers=headers)

    assert answer.status_code == 422
    assert "token" not in answer.text


def test_a_stack_that_gives_no_token_is_said_to_be_unavailable(client: httpx.Client) -> None:
    answer = client.post("/token", json={"user": "bob"}, headers={"Origin": ORIGIN})

    assert answer.status_code == 503
    assert "no stack" not in answer.text
