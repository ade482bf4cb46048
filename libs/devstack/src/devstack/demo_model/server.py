"""The demo model: what it does with each request, and what it remembers of it."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

import h11
from pydantic import BaseModel, TypeAdapter, ValidationError

from devstack.demo_model import bedrock, openai
from devstack.demo_model.behaviour import Behaviour, Behaviours
from devstack.demo_model.connection import ClientGoneError, Connection, Request
from devstack.demo_model.script import Ask, answer
from devstack.demo_model.stage import BedrockStage, OpenAIStage, Stage

MAX_REMEMBERED: Final = 2_000

_BEHAVIOURS = TypeAdapter(list[Behaviour])


class Asked(BaseModel):
    """A request as `GET /requests` shows it; `outcome` is "open" until the model is through.

    Attributes:
        asked_at: epoch seconds.
    """

    protocol: str
    asked_at: float
    model_id: str
    question: str
    system: str
    conversation: list[tuple[str, str]]
    max_tokens: int | None
    tools: list[str]
    results: list[str]
    outcome: str = "open"
    words_sent: int = 0


class DemoModel:
    """Answers requests by both protocols, and remembers what it was asked.

    Args:
        word_delay_ms: between two words.
    """

    def __init__(self, *, word_delay_ms: int = 100) -> None:
        self._word_delay = word_delay_ms / 1000
        self._behaviours = Behaviours()
        self._asked: deque[Asked] = deque(maxlen=MAX_REMEMBERED)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end: what `asyncio.start_server` calls."""
        connection = Connection(reader, writer)
        try:
            while (request := await connection.request()) is not None:
                await self._route(connection, request)
                if not connection.reusable():
                    break
        except (ConnectionError, ClientGoneError):
            pass
        except h11.RemoteProtocolError as error:
            await connection.answer(error.error_status_hint, b"{}", {"connection": "close"})
        finally:
            writer.close()

    async def _route(self, connection: Connection, request: Request) -> None:
        match request.method, request.path.rstrip("/"):
            case "GET", "/health":
                await connection.answer(200, b'{"status": "ok"}')
            case "GET", "/v1/models":
                await connection.answer(200, openai.models())
            case "POST", "/v1/chat/completions":
                await self._completions(connection, request)
            case "POST", path if path.startswith("/model/") and path.endswith(
                ("/converse", "/converse-stream")
            ):
                await self._converse(connection, request)
            case "PUT" | "DELETE", "/control":
                await self._control(connection, request)
            case "GET", "/requests":
                await self._requests(connection, request)
            case _:
                await connection.answer(404, b'{"message": "no such path"}')

    async def _control(self, connection: Connection, request: Request) -> None:
        if request.method == "DELETE":
            self._behaviours.forget(_first(request.query, "match"))
            await connection.answer(200, b"{}")
            return
        try:
            told = _BEHAVIOURS.validate_json(request.body)
        except ValidationError as error:
            await connection.answer(422, error.json().encode())
            return
        self._behaviours.tell(told)
        await connection.answer(200, json.dumps({"told": len(told)}).encode())

    async def _requests(self, connection: Connection, request: Request) -> None:
        match = _first(request.query, "match") or ""
        asked = [entry for entry in self._asked if match in entry.question]
        body = {"count": len(asked), "requests": [entry.model_dump() for entry in asked]}
        await connection.answer(200, json.dumps(body).encode())

    async def _converse(self, connection: Connection, request: Request) -> None:
        try:
            ask = bedrock.read_request(request.path, request.body)
        except ValidationError:
            headers, body = bedrock.error(400, "The request cannot be read.")
            await connection.answer(400, body, headers)
            return
        await self._perform(BedrockStage(connection, ask), ask)

    async def _completions(self, connection: Connection, request: Request) -> None:
        try:
            ask = openai.read_request(request.body)
        except ValidationError:
            headers, body = openai.error(400, "The request cannot be read.")
            await connection.answer(400, body, headers)
            return
        await self._perform(OpenAIStage(connection, ask), ask)

    async def _perform(self, stage: Stage, ask: Ask) -> None:
        behaviour = self._behaviours.choose(ask.text)
        entry = Asked(
            protocol=ask.protocol,
            asked_at=time.time(),
            model_id=ask.model_id,
            question=ask.text,
            system=ask.system,
            conversation=list(ask.conversation),
            max_tokens=ask.max_tokens,
            tools=list(ask.tools),
            results=list(ask.results),
        )
        self._asked.append(entry)
        try:
            entry.outcome = await self._act(stage, ask, behaviour, entry)
        except (ConnectionError, ClientGoneError):
            entry.outcome = "client_gone"
            raise

    async def _act(self, stage: Stage, ask: Ask, behaviour: Behaviour, entry: Asked) -> str:
        if behaviour.do == "error":
            await stage.refuse(behaviour.status, behaviour.retry_after)
            return "error"
        if behaviour.do == "hang" and behaviour.after_words == 0:
            await stage.connection.wait(None)
        spoken = answer(ask, behaviour)
        if not ask.stream:
            await stage.answer_whole(spoken)
            return "answered"
        await stage.open()
        for position, text in enumerate(spoken.words):
            if behaviour.do in {"hang", "break", "stream_error"} and (
                position == behaviour.after_words
            ):
                return await self._fail(stage, behaviour)
            await stage.connection.wait(self._delay(behaviour, len(spoken.words)))
            await stage.say(text)
            entry.words_sent += 1
        if behaviour.do in {"hang", "break", "stream_error"}:
            return await self._fail(stage, behaviour)
        await stage.close(spoken)
        return "answered"

    async def _fail(self, stage: Stage, behaviour: Behaviour) -> str:
        match behaviour.do:
            case "hang":
                await stage.connection.wait(None)
            case "break":
                stage.connection.cut()
            case _:
                await stage.fail(behaviour)
        return behaviour.do

    def _delay(self, behaviour: Behaviour, words: int) -> float:
        if behaviour.total_ms is not None:
            return behaviour.total_ms / 1000 / max(words, 1)
        if behaviour.word_delay_ms is not None:
            return behaviour.word_delay_ms / 1000
        return self._word_delay


def _first(query: dict[str, list[str]], name: str) -> str | None:
    values: Sequence[str] = query.get(name, ())
    return values[0] if values else None


async def start(host: str, port: int, *, word_delay_ms: int) -> asyncio.Server:
    """Listens; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    return await asyncio.start_server(DemoModel(word_delay_ms=word_delay_ms).serve, host, port)
