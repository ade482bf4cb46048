"""A channel with its agent: storage in memory, a model that says what it is told, open ears."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.clock import now
from commons.dal import DeleteWrite, Item, Query, Table, Update
from commons.realtime.broadcaster import Outcome, Post, Revalidate
from commons.records.connection import Subscription
from commons.records.generation import OpenGeneration
from commons.records.spend import Budget, Cost, UsageRecord
from commons.records.tool import ToolCallRecord
from commons.schemas.caller import Caller
from commons.schemas.event import (
    AgentFailed,
    ChannelDeletedData,
    Event,
    MessageCreated,
    Sender,
    Usage,
)
from commons.schemas.generation import GenerationRequest
from commons.schemas.message import PostMessage
from commons.schemas.tool import Decision
from commons.services.connections import ConnectionsService
from commons.services.event_log import Draft, EventLogService
from commons.services.generations import GenerationsService
from commons.services.messages import MessagesService
from commons.services.tool_decisions import ToolDecisionsService
from workers_agent.composition import build_batch_service
from workers_agent.model import (
    Chunk,
    EndChunk,
    IModel,
    Prompt,
    TextChunk,
    ToolCallChunk,
)
from workers_agent.pace import Pace
from workers_agent.schemas import Delivery
from workers_agent.services.batch import BatchService
from workers_agent.services.deltas import IAudience
from workers_agent.settings import AgentWorkerSettings
from workers_agent.tool_function import IToolFunction, NoTools

CHANNEL = "channel-1"
FAST = Pace(
    lease=60.0,
    heartbeat=0.05,
    look=0.02,
    idle=60.0,
    total=60.0,
    first_backoff=0.01,
    last_deltas=0.5,
    frame=0.01,
)
"""Does everything often, and gives nothing up: however busy the machine is, no reply times out."""


type AskedCall = tuple[str, dict[str, object] | str]
"""A name as the model was offered it, and arguments; a text is sent as it stands."""

TEN_TOKENS = Usage(model_id="m", input_tokens=7, output_tokens=3)

type Script = Callable[[Prompt], AsyncGenerator[Chunk]]


def says(*words: str, delay: float = 0.0, finish: EndChunk | None = None) -> Script:
    """A model that says the words and ends."""

    async def script(_prompt: Prompt) -> AsyncGenerator[Chunk]:
        for word in words:
            await asyncio.sleep(delay)
            yield TextChunk(word)
        yield finish or EndChunk("stop", TEN_TOKENS)

    return script


def asks(*calls: AskedCall, text: str = "", usage: Usage | None = TEN_TOKENS) -> Script:
    """A model that says the text and asks for calls."""

    async def script(_prompt: Prompt) -> AsyncGenerator[Chunk]:
        if text:
            yield TextChunk(text)
        for position, (name, arguments) in enumerate(calls):
            spelled = arguments if isinstance(arguments, str) else json.dumps(arguments)
            yield ToolCallChunk(f"provider-{position}", name, spelled)
        yield EndChunk("tool_calls", usage)

    return script


def fails(error: Exception, *, after: Sequence[str] = ()) -> Script:
    """A model that says the words and then fails."""

    async def script(_prompt: Prompt) -> AsyncGenerator[Chunk]:
        for word in after:
            yield TextChunk(word)
            await asyncio.sleep(0.03)
        raise error

    return script


def hangs(*, after: Sequence[str] = ()) -> Script:
    """A model that says the words and then nothing."""

    async def script(_prompt: Prompt) -> AsyncGenerator[Chunk]:
        for word in after:
            yield TextChunk(word)
        await asyncio.sleep(60)

    return script


class ScriptedModel:
    """Follows its scripts one after the other, the last for ever; remembers what it was asked."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.prompts: list[Prompt] = []

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Chunk]:
        script = self.scripts[min(len(self.prompts), len(self.scripts) - 1)]
        self.prompts.append(prompt)
        async for chunk in script(prompt):
            yield chunk

    async def aclose(self) -> None:
        pass


@dataclass
class RecordingBroadcaster:
    """Takes every frame, but for connections that it is told are gone or failing."""

    gone: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    heard: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(
        self,
        posts: Iterable[Post],
        *,
        budget_seconds: float = 10.0,  # noqa: ARG002 - never waits
        revalidate: Revalidate | None = None,  # noqa: ARG002
    ) -> Outcome:
        posts = list(posts)
        taken = [post for post in posts if post.connection_id not in self.gone | self.failing]
        with self._lock:
            self.moments.append(time.monotonic())
            for post in taken:
                for frame in post.frames:
                    self.heard.append((post.connection_id, json.loads(frame)))
        asked = {post.connection_id for post in posts}
        return Outcome(
            delivered=len(taken),
            gone=frozenset(asked & self.gone),
            failed=frozenset(asked & self.failing),
        )

    def delete_connection(self, connection_id: str) -> bool:
        raise AssertionError(f"nobody asked to close {connection_id}")

    def frames(self, connection_id: str) -> list[dict[str, object]]:
        return [frame for heard_by, frame in self.heard if heard_by == connection_id]

    def text(self, connection_id: str) -> str:
        """What a client has before it, by the rules of the contract."""
        text = ""
        last_index: int | None = None
        for frame in self.frames(connection_id):
            index = frame["index"]
            assert isinstance(index, int)
            if frame.get("snapshot"):
                text = str(frame["text"])
            else:
                assert last_index is None or index == last_index + 1
                text += str(frame["text"])
            last_index = index
        return text


@dataclass
class RecordingQueue:
    hidden: list[tuple[list[str], int]] = field(default_factory=list)
    returned: list[tuple[GenerationRequest, int]] = field(default_factory=list)
    waiting: list[Delivery] = field(default_factory=list)
    finished: list[Delivery] = field(default_factory=list)
    asked_for: list[int] = field(default_factory=list)

    def take(self, queue_name: str, most: int, *, hidden_seconds: int) -> list[Delivery]:
        assert queue_name == "agent"
        self.asked_for.append(most)
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        if taken:
            self.hidden.append(([each.receipt_handle for each in taken], hidden_seconds))
        return taken

    def finish(self, delivery: Delivery) -> None:
        self.finished.append(delivery)

    def hide(self, deliveries: Sequence[Delivery], seconds: int) -> None:
        self.hidden.append(([each.receipt_handle for each in deliveries], seconds))

    def put_back(
        self,
        delivery: Delivery,  # noqa: ARG002 - there is one queue
        request: GenerationRequest,
        *,
        delay_seconds: int,
    ) -> bool:
        self.returned.append((request, delay_seconds))
        return True


class Room:
    """A channel, who is in it, and the worker that answers there."""

    def __init__(self, repository: InMemoryRepository) -> None:
        self.repository = repository
        self._workers: list[BatchService] = []
        self.event_log = EventLogService(repository)
        self.messages = MessagesService(repository, event_log=self.event_log)
        self.generations = GenerationsService(repository, event_log=self.event_log)
        self.connections = ConnectionsService(repository)
        self.broadcaster = RecordingBroadcaster()
        self.queue = RecordingQueue()
        self.join("alice")
        self.configure(mode="always")

    def configure(
        self,
        channel_id: str = CHANNEL,
        *,
        settings_version: int = 0,
        agent_mode_changed_seq: int | None = None,
        **agent: object,
    ) -> None:
        """The channel's row; without `agent_mode_changed_seq` as an older release left it."""
        changed = (
            {}
            if agent_mode_changed_seq is None
            else {"agent_mode_changed_seq": agent_mode_changed_seq}
        )
        item: Item = {
            **keys.channel_key(channel_id),
            "channel_id": channel_id,
            "name": "General",
            "created_at": "2026-01-01T00:00:00.000Z",
            "created_by": "alice",
            "member_count": 1,
            "owner_count": 1,
            "agent": {"model_id": "default-model", **agent},
            "settings_version": settings_version,
            **changed,
        }
        self.repository.put(Table.CHANNELS, item)

    def join(self, user_id: str, channel_id: str = CHANNEL) -> None:
        item: Item = {
            **keys.member_key(channel_id, user_id),
            "channel_id": channel_id,
            "user_id": user_id,
            "role": "member",
            "joined_at": "2026-01-01T00:00:00.000Z",
        }
        self.repository.put(Table.CHANNELS, item)

    def leave(self, user_id: str) -> None:
        gone = DeleteWrite(Table.CHANNELS, keys.member_key(CHANNEL, user_id))
        self.repository.transact([gone])

    def close_channel(self) -> None:
        """As its deletion leaves it."""
        draft = Draft(sender=Sender(id="alice", kind="user"), data=ChannelDeletedData())
        self.event_log.append(CHANNEL, lambda: draft)
        gone = Update(set={"deleted": True})
        self.repository.update(Table.CHANNELS, keys.channel_key(CHANNEL), gone)

    def listen(self, connection_id: str, user_id: str = "alice") -> None:
        row = Subscription(
            channel_id=CHANNEL,
            connection_id=connection_id,
            user_id=user_id,
            state="live",
            expires_at=int(time.time()) + 600,
            connected_at=0,
            live_since=1,
        )
        self.repository.put(Table.CONNECTIONS, row.to_item())

    def say(
        self, text: str, user_id: str = "alice", *, name: str | None = None, channel: str = CHANNEL
    ) -> int:
        """Asks, and opens the reply as the dispatcher does."""
        seq = self.post(text, user_id, name=name, channel=channel)
        self.generations.ask(channel, seq, user_id, correlation_id=f"correlation-{seq}")
        return seq

    def post(
        self, text: str, user_id: str = "alice", *, name: str | None = None, channel: str = CHANNEL
    ) -> int:
        caller = Caller(user_id=user_id, name=name, expires_at=0)
        return self.messages.post(channel, caller, PostMessage(text=text)).event.seq

    def worker(
        self,
        model: IModel,
        *,
        pace: Pace = FAST,
        channel_tokens: int = 0,
        user_tokens: int = 0,
        tokens: int = 1_000,
        broadcaster: RecordingBroadcaster | None = None,
        audience: IAudience | None = None,
        tools: IToolFunction | None = None,
        max_tool_calls: int = 8,
        max_model_requests: int = 4,
    ) -> BatchService:
        settings = AgentWorkerSettings(
            agent_queue_url="unused",
            agent_crowded_queue_url="unused",
            websocket_callback_url="unused",
            allowed_models="default-model,m,another",
            context_tokens=tokens,
            channel_tokens_per_day=channel_tokens,
            user_tokens_per_day=user_tokens,
            max_tool_calls=max_tool_calls,
            max_model_requests=max_model_requests,
        )
        worker = build_batch_service(
            settings,
            self.repository,
            pace=pace,
            model=model,
            broadcaster=broadcaster or self.broadcaster,
            audience=audience or self.connections,
            queue=self.queue,
            tools=tools or NoTools(),
        )
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self._workers:
            worker.close()

    def answer(self, model: IModel, seq: int, *, generation: int = 1) -> list[str]:
        """Hands the question to a worker; returns what is to be handed over again."""
        return self.worker(model).answer([delivery(seq, generation)])

    def events(self, channel_id: str = CHANNEL) -> list[Event]:
        return self.event_log.read(channel_id, after=0, limit=100).items

    def replies(self, channel_id: str = CHANNEL) -> list[MessageCreated]:
        return [
            event
            for event in self.events(channel_id)
            if isinstance(event, MessageCreated) and event.sender.kind == "agent"
        ]

    def failures(self, channel_id: str = CHANNEL) -> list[AgentFailed]:
        return [event for event in self.events(channel_id) if isinstance(event, AgentFailed)]

    def row(self, seq: int) -> OpenGeneration:
        row = self.generations.find_open(CHANNEL, seq)
        assert row is not None
        return row

    def has_ended(self, seq: int) -> bool:
        ended = self.generations.find_last_ended(CHANNEL, seq) is not None
        return ended and self.generations.find_open(CHANNEL, seq) is None

    def usage(self, user_id: str = "alice") -> Cost:
        """What the channel's replies to a user have cost, on all days and of all models."""
        query = Query(table=Table.CHANNELS, partition=keys.usage_partition(CHANNEL))
        rows = map(UsageRecord.model_validate, self.repository.iterate(query))
        costs = (
            Cost(
                requests=row.requests,
                input_tokens=row.input_tokens,
                output_tokens=row.output_tokens,
            )
            for row in rows
            if row.user_id == user_id
        )
        return sum(costs, start=Cost())

    def set_aside(self, scope: str = "channel", subject: str = CHANNEL) -> int:
        """Tokens that the day's budget counts by now."""
        key = keys.budget_key(scope, subject, now().date().isoformat())
        return Budget.model_validate(self.repository.find(Table.CHANNELS, key) or {}).tokens

    def calls(self, generation: int = 1) -> list[ToolCallRecord]:
        """Those of all questions, in the order in which they were asked for."""
        query = Query(table=Table.CHANNELS, partition=keys.tool_calls_partition(CHANNEL))
        records = map(ToolCallRecord.model_validate, self.repository.iterate(query))
        return [record for record in records if record.generation == generation]

    def decide(
        self, decision: Decision = "approve", user_id: str = "alice", *, call: int = 0
    ) -> ToolCallRecord:
        """A member decides about one of the calls."""
        record = self.calls()[call]
        decisions = ToolDecisionsService(self.repository, event_log=self.event_log)
        caller = Caller(user_id=user_id, name=None, expires_at=0)
        decisions.decide(CHANNEL, caller, record.call_id, decision)
        return record

    def everything_stored(self) -> str:
        """Every item of the channels table, as text."""
        return repr(self.repository.all_items(Table.CHANNELS))


def delivery(seq: int, generation: int = 1, *, channel_id: str = CHANNEL) -> Delivery:
    request = GenerationRequest(
        channel_id=channel_id,
        question_seq=seq,
        generation=generation,
        correlation_id=f"correlation-{seq}",
    )
    return Delivery(f"message-{channel_id}-{seq}", f"receipt-{channel_id}-{seq}", request, "agent")


def redact(room: Room, seq: int) -> None:
    """As a deletion leaves a message."""
    redacted = Update(set={"data": {"text": "", "redacted": True}, "redacted": True})
    room.repository.update(Table.CHAT_EVENTS, keys.event_key(CHANNEL, seq), redacted)


@pytest.fixture
def room(repository: InMemoryRepository) -> Iterator[Room]:
    room = Room(repository)
    yield room
    room.close()


@pytest.fixture
def in_background() -> Iterator[Callable[[Callable[[], object]], threading.Thread]]:
    """Runs something beside the test, and waits for it at the end."""
    threads: list[threading.Thread] = []

    def start(work: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=work)
        thread.start()
        threads.append(thread)
        return thread

    yield start
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
