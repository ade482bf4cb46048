"""The handler with moto's tables and queues, a local management API, and the demo model as model."""

import gc
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.doubles.queue_records import queue_record
from tests.integration.websocket.gateway import ManagementApi, served_management_api
from tests.integration.workers_agent.model_control import ModelControl
from tests.integration.workers_agent.queues import Queues, deploy_queues

from commons import keys
from commons.dal import DynamoDBRepository, Item, Table
from commons.ids import new_channel_id
from commons.records.connection import Subscription
from commons.schemas.caller import Caller
from commons.schemas.event import AgentFailed, Event, MessageCreated
from commons.schemas.lambda_events import QueueRecord
from commons.schemas.message import PostMessage
from commons.services.event_log import EventLogService
from commons.services.generations import GenerationsService
from commons.services.messages import MessagesService
from devstack.demo_model.background import demo_model
from workers_agent import composition, handler


@pytest.fixture(scope="session")
def model_url() -> Iterator[str]:
    with demo_model() as url:
        yield url


@pytest.fixture(scope="session")
def management_api() -> Iterator[ManagementApi]:
    with served_management_api() as api:
        yield api


@pytest.fixture(params=["bedrock", "openai"])
def provider(request: pytest.FixtureRequest) -> Literal["bedrock", "openai"]:
    """Either protocol: each test that asks for it runs with both."""
    provider: Literal["bedrock", "openai"] = request.param
    return provider


@pytest.fixture
def queues(table_names: dict[Table, str]) -> Queues:
    return deploy_queues()


@pytest.fixture
def lambda_context() -> LambdaContext:
    context = LambdaContext()
    context._function_name = "workers_agent"
    context._memory_limit_in_mb = 1_769
    context._invoked_function_arn = "arn:aws:lambda:eu-west-1:1:function:workers_agent"
    context._aws_request_id = "request-1"
    return context


class Room:
    """A channel of alice's, whose questions go through the handler."""

    def __init__(
        self,
        repository: DynamoDBRepository,
        management_api: ManagementApi,
        model_url: str,
        context: LambdaContext,
    ) -> None:
        self.channel_id = new_channel_id()
        self.model = ModelControl(model_url)
        self.repository = repository
        self.event_log = EventLogService(repository)
        self.connection_id = f"connection-{self.channel_id}"
        self._messages = MessagesService(repository, event_log=self.event_log)
        self._management_api = management_api
        self._context = context
        self._join("alice")
        self.configure(mode="always")

    def configure(self, **agent: object) -> None:
        item: Item = {
            **keys.channel_key(self.channel_id),
            "channel_id": self.channel_id,
            "name": "General",
            "created_at": "2026-01-01T00:00:00.000Z",
            "created_by": "alice",
            "member_count": 1,
            "owner_count": 1,
            "agent": {"model_id": "eu.demo.scripted-v1:0", **agent},
        }
        self.repository.put(Table.CHANNELS, item)

    def _join(self, user_id: str) -> None:
        item: Item = {
            **keys.member_key(self.channel_id, user_id),
            "channel_id": self.channel_id,
            "user_id": user_id,
            "role": "owner",
            "joined_at": "2026-01-01T00:00:00.000Z",
        }
        self.repository.put(Table.CHANNELS, item)

    def listen(self) -> None:
        row = Subscription(
            channel_id=self.channel_id,
            connection_id=self.connection_id,
            user_id="alice",
            state="live",
            expires_at=int(time.time()) + 600,
            connected_at=0,
            live_since=1,
        )
        self.repository.put(Table.CONNECTIONS, row.to_item())

    def say(self, text: str) -> int:
        """Asks, and opens the reply as the dispatcher does: with the token that tells the demo model which question this is."""
        caller = Caller(user_id="alice", name="Alice", expires_at=0)
        message = PostMessage(text=f"{text} {self.model.token}")
        seq = self._messages.post(self.channel_id, caller, message).event.seq
        GenerationsService(self.repository).ask(
            self.channel_id, seq, caller.user_id, correlation_id="correlation-1"
        )
        return seq

    def record(self, seq: int, *, message_id: str = "message-1") -> QueueRecord:
        """As the queue mapping hands it over."""
        body = {
            "channelId": self.channel_id,
            "questionSeq": seq,
            "generation": 1,
            "correlationId": "correlation-1",
        }
        return queue_record(message_id, json.dumps(body), queue="chat-test-agent")

    def hand_over(self, *records: QueueRecord) -> Sequence[str]:
        """Returns the ids of the messages that are to be seen again."""
        answer = handler.lambda_handler({"Records": list(records)}, self._context)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def events(self) -> list[Event]:
        return self.event_log.read(self.channel_id, after=0, limit=100).items

    def replies(self) -> list[MessageCreated]:
        return [
            event
            for event in self.events()
            if isinstance(event, MessageCreated) and event.sender.kind == "agent"
        ]

    def failures(self) -> list[AgentFailed]:
        return [event for event in self.events() if isinstance(event, AgentFailed)]

    def frames(self) -> list[dict[str, object]]:
        return self._management_api.frames(self.connection_id)


@pytest.fixture
def environment(
    provider: str,
    model_url: str,
    management_api: ManagementApi,
    queues: Queues,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables = {
        "AGENT_QUEUE_URL": queues.agent_url,
        "AGENT_CROWDED_QUEUE_URL": queues.crowded_url,
        "WEBSOCKET_CALLBACK_URL": management_api.url,
        "ALLOWED_MODELS": "eu.demo.scripted-v1:0, another",
        "MODEL_PROVIDER": provider,
        "MODEL_URL": f"{model_url}/v1",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model_url,
        "MODEL_IDLE_TIMEOUT": "10",
        "MODEL_TOTAL_TIMEOUT": "20",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def room(
    environment: None,
    moto_repository: DynamoDBRepository,
    management_api: ManagementApi,
    model_url: str,
    lambda_context: LambdaContext,
) -> Iterator[Room]:
    composition.batch_service.cache_clear()
    yield Room(moto_repository, management_api, model_url, lambda_context)
    composition.batch_service().close()
    with warnings.catch_warnings():
        # A warm function keeps its pools for life: here they end with the test.
        warnings.simplefilter("ignore", ResourceWarning)
        composition.batch_service.cache_clear()
        gc.collect()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], bool]:
    def wait(holds: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if holds():
                return True
            time.sleep(0.02)
        return False

    return wait
