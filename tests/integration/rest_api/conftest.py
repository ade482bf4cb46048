from collections.abc import Callable

import pytest
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client, RecordingBroadcaster

from commons.clock import epoch_milliseconds
from commons.dal import DynamoDBRepository, IRepository
from commons.schemas.caller import Caller
from commons.services.connections import ConnectionsService
from rest_api.app import RestApi
from rest_api.composition import Services, build_services
from rest_api.settings import Settings

MODELS = "model-a,model-b"


@pytest.fixture
def settings() -> Settings:
    return Settings(
        websocket_callback_url="http://127.0.0.1:9",
        allowed_models=MODELS,
        cursor_secret_arn="arn:unused",
    )


@pytest.fixture
def broadcaster() -> RecordingBroadcaster:
    return RecordingBroadcaster()


type MakeApi = Callable[..., Client]


@pytest.fixture
def make_api(settings: Settings, broadcaster: RecordingBroadcaster) -> MakeApi:
    def make(storage: IRepository, **changes: object) -> Client:
        changed = settings.model_copy(update=changes)
        services = build_services(
            changed,
            repository=storage,
            broadcaster=broadcaster,
            cursor_secret=lambda: b"a secret of the tests",
        )
        return Client(RestApi(services, allowed_origins=changed.origins))

    return make


@pytest.fixture
def alice(repository: InMemoryRepository, make_api: MakeApi) -> Client:
    """Alice's client of an API over memory."""
    return make_api(repository)


@pytest.fixture
def services(
    repository: InMemoryRepository, settings: Settings, broadcaster: RecordingBroadcaster
) -> Services:
    return build_services(settings, repository=repository, broadcaster=broadcaster)


@pytest.fixture(params=["memory", "dynamodb"])
def storage(request: pytest.FixtureRequest) -> IRepository:
    """Each of the repositories in turn."""
    name = "repository" if request.param == "memory" else "moto_repository"
    chosen: InMemoryRepository | DynamoDBRepository = request.getfixturevalue(name)
    return chosen


@pytest.fixture
def anywhere(storage: IRepository, make_api: MakeApi) -> Client:
    """Alice's client of an API over each repository in turn."""
    return make_api(storage)


type Listen = Callable[[str, str], str]


@pytest.fixture
def listen(repository: InMemoryRepository) -> Listen:
    """Opens a connection of a user that is subscribed to a channel; returns its id."""

    def connect(user: str, channel: str) -> str:
        caller = Caller(user_id=user, expires_at=epoch_milliseconds() // 1_000 + 3_600)
        connection = ConnectionsService(repository).register(
            f"connection-of-{user}",
            caller,
            connected_at=epoch_milliseconds(),
            channels=[channel],
        )
        return connection.connection_id

    return connect
