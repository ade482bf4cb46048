import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from tests.integration.websocket.conftest import Join, Open
from tests.integration.websocket.gateway import (
    ManagementApi,
    connect_event,
    error_of,
    message_event,
)

from commons.dal import IRepository, Item
from commons.dynamodb.exceptions import (
    StorageBusyError,
    StorageUnavailableError,
    StorageUnreachableError,
)
from commons.ids import new_channel_id
from commons.records.connection import MAX_CONNECTIONS
from commons.schemas.caller import Caller
from commons.services.connections import ConnectionsService
from commons.services.tickets import TicketsService
from commons.websocket.frame_handler import SocketResponse
from websocket_connect import handler

type Connect = Callable[..., int]
type Sign = Callable[..., str]


@pytest.fixture
def connect(lambda_context: LambdaContext) -> Connect:
    def _connect(connection_id: str = "c1", **handshake: Any) -> int:
        response: SocketResponse = handler.lambda_handler(
            connect_event(connection_id, **handshake), lambda_context
        )
        return response["statusCode"]

    return _connect


@pytest.fixture
def ticket(storage: IRepository) -> str:
    """A ticket of alice's."""
    alice = Caller(user_id="alice", name="Alice", expires_at=int(time.time()) + 600)
    return TicketsService(storage).issue(alice).ticket


@pytest.fixture(scope="module")
def signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def jwks_url(signing_key: rsa.RSAPrivateKey) -> Iterator[str]:
    key = RSAAlgorithm.to_jwk(signing_key.public_key(), as_dict=True)
    body = json.dumps({"keys": [{**key, "kid": "key-1", "use": "sig"}]}).encode()

    class Jwks(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Jwks)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/jwks.json"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def sign(signing_key: rsa.RSAPrivateKey, jwks_url: str, monkeypatch: pytest.MonkeyPatch) -> Sign:
    """Signs tokens that the handshake believes."""
    monkeypatch.setenv("JWT_JWKS_URL", jwks_url)

    def _sign(**changes: object) -> str:
        claims = {
            "iss": "https://issuer.example/pool",
            "aud": "client-1",
            "sub": "alice",
            "exp": int(time.time()) + 600,
        }
        return jwt.encode(
            claims | changes, signing_key, algorithm="RS256", headers={"kid": "key-1"}
        )

    return _sign


def connection_is_known(storage: IRepository, connection_id: str = "c1") -> bool:
    return ConnectionsService(storage).find(connection_id) is not None


def test_a_ticket_opens_one_connection(connect: Connect, ticket: str, storage: IRepository) -> None:
    assert connect(query={"ticket": ticket}) == 200
    assert connect("c2", query={"ticket": ticket}) == 401
    assert connection_is_known(storage)
    assert not connection_is_known(storage, "c2")


def test_a_bearer_token_opens_a_connection(
    connect: Connect, sign: Sign, storage: IRepository
) -> None:
    expires_at = int(time.time()) + 300
    assert connect(headers={"Authorization": f"Bearer {sign(exp=expires_at)}"}) == 200
    connection = ConnectionsService(storage).require("c1")
    assert (connection.user_id, connection.token_expires_at) == ("alice", expires_at)


def test_a_token_in_the_query_counts_only_where_it_is_allowed(
    connect: Connect, sign: Sign, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connect(query={"token": sign()}) == 401
    monkeypatch.setenv("ALLOW_TOKEN_IN_QUERY", "true")
    handler.admission_service.cache_clear()
    assert connect(query={"token": sign()}) == 200


@pytest.mark.parametrize(
    "handshake",
    [
        {},
        {"query": {"ticket": "wrong"}},
        {"query": {"ticket": ""}},
        {"query": {"token": "x.y.z"}},
        {"headers": {"Authorization": "Basic YTpi"}},
        {"headers": {"authorization": "Bearer x.y.z"}},
    ],
)
def test_no_valid_credential_is_a_401(connect: Connect, handshake: dict[str, Any]) -> None:
    assert connect(**handshake) == 401


def test_a_token_within_its_leeway_opens_nothing_for_nothing_may_be_sent(
    connect: Connect, sign: Sign
) -> None:
    token = sign(exp=int(time.time()) - 5)
    assert connect(headers={"Authorization": f"Bearer {token}"}) == 401


def test_a_wrong_ticket_is_not_made_good_by_a_token(connect: Connect, sign: Sign) -> None:
    status = connect(query={"ticket": "wrong"}, headers={"Authorization": f"Bearer {sign()}"})
    assert status == 401


def test_channels_are_subscribed_at_once(
    connect: Connect, ticket: str, join: Join, storage: IRepository
) -> None:
    first, second = new_channel_id(), new_channel_id()
    join("alice", first)
    join("alice", second)
    assert connect(query={"ticket": ticket, "channels": f"{first},{second}"}) == 200
    connections = ConnectionsService(storage)
    assert [each.state for each in connections.subscriptions(first)] == ["live"]
    assert [each.connection_id for each in connections.subscriptions(second)] == ["c1"]


@pytest.mark.parametrize("channels", ["{foreign}", "{own},{foreign}", "conn#c1", "a b", "{many}"])
def test_a_channel_that_is_not_the_users_refuses_all_and_spends_the_ticket(
    connect: Connect,
    ticket: str,
    join: Join,
    stored: Callable[[str], list[Item]],
    channels: str,
) -> None:
    own, foreign = new_channel_id(), new_channel_id()
    join("alice", own)
    join("bob", foreign)
    many = ",".join(new_channel_id() for _ in range(51))
    query = channels.format(own=own, foreign=foreign, many=many)

    assert connect(query={"ticket": ticket, "channels": query}) == 403

    assert [stored(each) for each in ("conn#c1", "user#alice", own, foreign)] == [[], [], [], []]
    assert connect(query={"ticket": ticket}) == 401


def test_another_origin_is_refused_and_the_ticket_is_spent(
    connect: Connect, ticket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://chat.example, https://other.example")
    evil = {"Origin": "https://evil.example"}
    assert connect(query={"ticket": ticket}, headers=evil) == 403
    assert connect(query={"ticket": ticket}) == 401


@pytest.mark.parametrize("origin", ["https://chat.example", "https://other.example", None])
def test_an_allowed_origin_and_a_program_without_one_are_admitted(
    connect: Connect, ticket: str, monkeypatch: pytest.MonkeyPatch, origin: str | None
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://chat.example, https://other.example")
    headers = {} if origin is None else {"origin": origin}
    assert connect(query={"ticket": ticket}, headers=headers) == 200


def test_the_201st_connection_is_a_429_until_one_is_gone(
    connect: Connect,
    open_connection: Open,
    management_api: ManagementApi,
    storage: IRepository,
    sign: Sign,
) -> None:
    for number in range(MAX_CONNECTIONS):
        open_connection(f"old-{number}")
    bearer = {"Authorization": f"Bearer {sign()}"}
    assert connect(headers=bearer) == 429
    assert not connection_is_known(storage)
    management_api.gone = {"old-7"}
    assert connect(headers=bearer) == 200
    assert not connection_is_known(storage, "old-7")


def test_connections_that_cannot_be_looked_at_count_as_open(
    connect: Connect, open_connection: Open, management_api: ManagementApi, sign: Sign
) -> None:
    for number in range(MAX_CONNECTIONS):
        open_connection(f"old-{number}")
    management_api.refusing = 403
    assert connect(headers={"Authorization": f"Bearer {sign()}"}) == 429


def test_neither_query_nor_token_is_logged(
    connect: Connect, ticket: str, sign: Sign, caplog: pytest.LogCaptureFixture
) -> None:
    token = sign()
    connect(query={"ticket": ticket, "token": token})
    connect(query={"ticket": ticket}, headers={"Authorization": f"Bearer {token}"})
    assert len(caplog.records) == 2
    logged = str([vars(record) for record in caplog.records])
    assert ticket not in logged
    assert token not in logged


def test_what_was_not_foreseen_refuses_without_its_text_and_counts(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(handler, "admission_service", fail)
    assert connect() == 500
    assert "a secret" not in str([vars(record) for record in caplog.records])
    assert '"Unhandled":[1.0]' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "status"), [(StorageBusyError, 429), (StorageUnreachableError, 503)]
)
def test_storage_that_did_not_serve_refuses_without_saying_that_the_token_is_bad(
    connect: Connect,
    sign: Sign,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[StorageUnavailableError],
    status: int,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise kind

    monkeypatch.setattr(ConnectionsService, "register", fail)
    assert connect(headers={"Authorization": f"Bearer {sign()}"}) == status


def test_a_frame_that_names_the_route_is_an_unknown_action(
    lambda_context: LambdaContext,
) -> None:
    event = message_event("c1", {"action": "$connect"}, route="$connect")
    assert error_of(handler.lambda_handler(event, lambda_context))["status"] == 404
