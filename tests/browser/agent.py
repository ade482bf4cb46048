"""The agent of the playground: the real dispatcher and the real worker, a model that has a script."""

import asyncio
import itertools
import json
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tests.doubles.repository import InMemoryRepository
from tests.doubles.tools import CountingTools

from commons import keys
from commons.dal import Item, Table
from commons.realtime.broadcaster import IBroadcaster
from commons.schemas.event import Event, Usage
from commons.schemas.generation import GenerationRequest
from commons.services.connections import ConnectionsService
from commons.services.crowding import CrowdingService
from commons.services.generations import GenerationsService
from commons.services.membership import MembershipService
from workers_agent.composition import build_batch_service
from workers_agent.model import Chunk, EndChunk, Prompt, TextChunk, ToolCallChunk
from workers_agent.pace import Pace
from workers_agent.schemas import Delivery
from workers_agent.settings import AgentWorkerSettings
from workers_agent_dispatcher.schemas import Parked, Question, StreamRecord
from workers_agent_dispatcher.services.dispatch import DispatchService


@dataclass(frozen=True, slots=True)
class Ask:
    """What the model says before it asks for calls, and these: each a tool and its arguments."""

    text: str
    calls: Sequence[tuple[str, Mapping[str, Any]]] = field(default_factory=tuple)


type Script = Callable[[str], str]
type AskScript = Callable[[str], Sequence[Ask]]

WORKERS: Final = 2


class ScriptedModel:
    """IModel: answers the last question by its script, word by word.

    Attributes:
        asks: the steps of calls that it asks for before it answers a question.
        thinking_seconds: before the first word.
        word_seconds: after each.
    """

    def __init__(self, script: Script, asks: AskScript) -> None:
        self.script = script
        self.asks = asks
        self.thinking_seconds = 0.4
        self.word_seconds = 0.03

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Chunk]:
        await asyncio.sleep(self.thinking_seconds)
        # The worker says in the turn's first line who speaks.
        question = prompt.turns[-1].text.partition("\n")[2]
        asks = self.asks(question) if prompt.tools else ()
        done = len(prompt.steps)
        ask = asks[done] if done < len(asks) else Ask(self.script(question))
        words = ask.text.split(" ") if ask.text else []
        for index, word in enumerate(words):
            yield TextChunk(word if index == 0 else f" {word}")
            await asyncio.sleep(self.word_seconds)
        for number, (tool, arguments) in enumerate(ask.calls):
            sent_name = tool.replace(".", "_")
            yield ToolCallChunk(f"{done}.{number}", sent_name, json.dumps(arguments))
        usage = Usage(model_id=prompt.model_id, input_tokens=1, output_tokens=len(words))
        yield EndChunk("tool_calls" if ask.calls else "stop", usage)

    async def aclose(self) -> None:
        pass


class _Queue:
    """The agent's queue and the parking queue, for the dispatcher and the workers alike."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[GenerationRequest | None] = queue.SimpleQueue()
        self.parked: list[Parked] = []

    def ask(self, questions: Sequence[Question]) -> list[int]:
        for question in questions:
            self.waiting.put(question.request)
        return []

    def park(self, parked: Parked) -> None:
        self.parked.append(parked)

    def take(self, *_which: object, **_hidden: object) -> list[Delivery]:
        """Each question has a thread of its own."""
        return []

    def finish(self, delivery: Delivery) -> None:
        """Nothing is kept."""

    def hide(self, deliveries: Sequence[Delivery], seconds: int) -> None:
        pass

    def put_back(
        self,
        delivery: Delivery,  # noqa: ARG002 - there is one queue
        request: GenerationRequest,
        *,
        delay_seconds: int,
    ) -> bool:
        timer = threading.Timer(delay_seconds, self.waiting.put, [request])
        timer.daemon = True
        timer.start()
        return True


class Agent:
    """What the streams drive, on threads of this process.

    Attributes:
        model: what it says.
        tools: what its calls come to.
    """

    def __init__(
        self,
        repository: InMemoryRepository,
        broadcaster: IBroadcaster,
        *,
        script: Script,
        asks: AskScript,
        model_id: str,
    ) -> None:
        self.model = ScriptedModel(script, asks)
        self.tools = CountingTools()
        self._repository = repository
        self._broadcaster = broadcaster
        self._settings = AgentWorkerSettings(
            agent_queue_url="unused",
            agent_crowded_queue_url="unused",
            websocket_callback_url="unused",
            allowed_models=model_id,
            tools_function="unused",
        )
        self._numbers = itertools.count(1)
        self._queue = _Queue()
        self._generations = GenerationsService(repository)
        self._dispatch = DispatchService(
            self._queue,
            repository,
            membership=MembershipService(repository),
            generations=self._generations,
            crowding=CrowdingService(repository, workers=20),
        )

    def see(self, event: Event) -> None:
        """As the stream of the log hands an event over."""
        key = keys.event_key(event.channel_id, event.seq)
        item = self._repository.find(Table.CHAT_EVENTS, key)
        if item is not None:
            self._dispatch.dispatch([self._record(item, event.channel_id, event.seq)])

    def see_regenerations(self, channel_id: str) -> None:
        """As the stream of the channels hands over what was asked for anew."""
        for row in self._generations.list_open(channel_id):
            item = self._repository.find(Table.CHANNELS, row.key)
            if item is not None and row.status == "queued":
                self._dispatch.dispatch([self._record(item, channel_id, row.question_seq)])

    def _record(self, item: Item, channel_id: str, seq: int) -> StreamRecord:
        return StreamRecord(str(next(self._numbers)), channel_id, seq, dict(item))

    @contextmanager
    def working(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(WORKERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for _ in threads:
                self._queue.waiting.put(None)
            for thread in threads:
                thread.join(timeout=10)

    def _work(self) -> None:
        worker = build_batch_service(
            self._settings,
            self._repository,
            pace=Pace(look=0.1),
            model=self.model,
            broadcaster=self._broadcaster,
            audience=ConnectionsService(self._repository),
            queue=self._queue,
            tools=self.tools,
        )
        try:
            while (request := self._queue.waiting.get()) is not None:
                number = str(next(self._numbers))
                worker.answer([Delivery(number, number, request, "agent")])
        finally:
            worker.close()
