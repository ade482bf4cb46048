import time
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.doubles.repository import InMemoryRepository
from tests.integration.websocket.gateway import ManagementApi, served_management_api

from commons import keys
from commons.dal import DynamoDBRepository, IRepository, Item, Query, Table
from commons.ids import new_channel_id
from commons.schemas.caller import Caller
from commons.services import base
from commons.services.connections import ConnectionsService
from websocket_connect import handler as connect_handler
from websocket_disconnect import handler as disconnect_handler
from websocket_sendmessage import handler as sendmessage_handler
from websocket_session import handler as session_handler

HANDLERS = (connect_handler, disconnect_handler, sendmessage_handler, session_handler)

type Join = Callable[[str, str], None]
type Open = Callable[..., None]


@pytest.fixture(scope="session")
def served() -> Iterator[ManagementApi]:
    with served_management_api() as api:
        yield api


@pytest.fixture
def management_api(served: ManagementApi) -> ManagementApi:
    served.posted, served.closed, served.gone, served.refusing = {}, [], set(), None
    return served


@pytest.fixture(autouse=True)
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> IRepository:
    """What the handlers store in: memory, or by indirect parameter "dynamodb" moto's tables."""
    if getattr(request, "param", "memory") == "dynamodb":
        tables: DynamoDBRepository = request.getfixturevalue("moto_repository")
        return tables
    repository = InMemoryRepository()
    monkeypatch.setattr(base, "default_repository", lambda: repository)
    return repository


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, management_api: ManagementApi) -> None:
    for name, value in {
        "WEBSOCKET_CALLBACK_URL": management_api.url,
        "JWT_ISSUER": "https://issuer.example/pool",
        "JWT_AUDIENCE": "client-1",
        "JWT_JWKS_URL": "http://127.0.0.1:9/jwks.json",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def _cold_handlers() -> Iterator[None]:
    """What a warm function keeps does not outlive a test."""
    yield
    for module in HANDLERS:
        clear_caches(module)


def clear_caches(module: ModuleType) -> None:
    for value in vars(module).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


@pytest.fixture
def lambda_context() -> LambdaContext:
    context = LambdaContext()
    context._function_name = "websocket"
    context._memory_limit_in_mb = 1024
    context._invoked_function_arn = "arn:aws:lambda:eu-west-1:1:function:websocket"
    context._aws_request_id = "request-1"
    return context


@pytest.fixture
def channel_id() -> str:
    return new_channel_id()


@pytest.fixture
def join(storage: IRepository) -> Join:
    """Makes a user a member of a channel, as the channels service leaves the rows."""

    def _join(user_id: str, channel_id: str) -> None:
        meta: Item = {
            **keys.channel_key(channel_id),
            "channel_id": channel_id,
            "name": "A channel",
            "created_at": "2026-01-01T00:00:00.000Z",
            "created_by": "alice",
            "agent": {"mode": "off", "model_id": "model-a"},
            "member_count": 1,
            "owner_count": 1,
        }
        member: Item = {
            **keys.member_key(channel_id, user_id),
            "channel_id": channel_id,
            "user_id": user_id,
            "role": "member",
            "joined_at": "2026-01-01T00:00:00.000Z",
        }
        storage.put(Table.CHANNELS, meta)
        storage.put(Table.CHANNELS, member)

    return _join


@pytest.fixture
def open_connection(storage: IRepository) -> Open:
    """Registers a connection, as a handshake a minute ago left it."""

    def _open(
        connection_id: str,
        user_id: str = "alice",
        *,
        channels: tuple[str, ...] = (),
        seconds: int = 3600,
    ) -> None:
        ConnectionsService(storage).register(
            connection_id,
            Caller(user_id=user_id, name=user_id.title(), expires_at=int(time.time()) + seconds),
            connected_at=int(time.time() * 1000) - 60_000,
            channels=channels,
        )

    return _open


@pytest.fixture
def stored(storage: IRepository) -> Callable[[str], list[Item]]:
    """The rows of one partition of the connections table."""

    def _stored(partition: str) -> list[Item]:
        return list(storage.iterate(Query(table=Table.CONNECTIONS, partition=partition)))

    return _stored
