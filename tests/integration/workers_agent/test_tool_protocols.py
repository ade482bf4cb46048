"""Both providers and a server that really streams calls: what is asked for, what is told of it."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from uuid import uuid4

import httpx
import pytest

from workers_agent.model import (
    AnsweredCall,
    Chunk,
    EndChunk,
    IModel,
    Prompt,
    Step,
    TextChunk,
    ToolCallChunk,
    ToolSpec,
    Turn,
)
from workers_agent.providers import build_model
from workers_agent.settings import AgentWorkerSettings

TOOLS = [
    ToolSpec(name=name, description=name, input_schema={"type": "object"})
    for name in ("notes_add", "clock_now")
]
RESULT = "It is noon."


@pytest.fixture(params=["bedrock", "openai"])
def model(
    request: pytest.FixtureRequest, model_url: str, monkeypatch: pytest.MonkeyPatch
) -> IModel:
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", model_url)
    settings = AgentWorkerSettings(
        agent_queue_url="unused",
        agent_crowded_queue_url="unused",
        websocket_callback_url="unused",
        allowed_models="m",
        model_provider=request.param,
        model_url=f"{model_url}/v1",
    )
    return build_model(settings)


@pytest.fixture
def token(model_url: str) -> Iterator[str]:
    """Names the questions of one test to the demo model."""
    token = f"token-{uuid4()}"
    yield token
    httpx.delete(f"{model_url}/control", params={"match": token})


def prompt(text: str, *, tools: Sequence[ToolSpec] = TOOLS, steps: Sequence[Step] = ()) -> Prompt:
    return Prompt(
        model_id="m",
        instructions="Be brief.",
        turns=[Turn("user", f"⟦alice⟧\n{text}")],
        max_tokens=100,
        tools=tools,
        steps=steps,
    )


def ask(model: IModel, asked: Prompt) -> list[Chunk]:
    async def collect() -> list[Chunk]:
        try:
            return [chunk async for chunk in model.stream(asked)]
        finally:
            await model.aclose()

    return asyncio.run(collect())


def calls_of(chunks: Sequence[Chunk]) -> list[ToolCallChunk]:
    return [chunk for chunk in chunks if isinstance(chunk, ToolCallChunk)]


def text_of(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def answered(call: ToolCallChunk) -> AnsweredCall:
    return AnsweredCall(
        call_id=call.call_id, name=call.name, arguments=call.arguments, result=RESULT
    )


def test_a_phrase_of_the_question_asks_for_calls(model: IModel) -> None:
    chunks = ask(model, prompt("What time is it?\nnote: buy “milk”"))

    note, clock = calls_of(chunks)
    assert (note.name, json.loads(note.arguments)) == ("notes_add", {"text": "buy “milk”"})
    assert (clock.name, json.loads(clock.arguments)) == ("clock_now", {})
    assert note.call_id != clock.call_id
    assert "notes_add" in text_of(chunks)
    assert isinstance(chunks[-1], EndChunk)
    assert chunks[-1].finish == "tool_calls"
    assert chunks[-1].usage is not None


def test_a_tool_that_is_not_offered_is_not_asked_for(model: IModel) -> None:
    chunks = ask(model, prompt("note: buy milk", tools=TOOLS[1:]))

    assert calls_of(chunks) == []
    assert "scripted" in text_of(chunks)


def test_what_came_of_a_call_reaches_the_model(model: IModel, model_url: str, token: str) -> None:
    call = ToolCallChunk("call-1", "clock_now", "{}")
    step = Step("I look.", [answered(call)])

    chunks = ask(model, prompt(f"What time is it? {token}", steps=[step]))

    assert calls_of(chunks) == []
    assert f"“{RESULT}”" in text_of(chunks)
    asked = httpx.get(f"{model_url}/requests", params={"match": token}).json()["requests"]
    assert [each["results"] for each in asked] == [[RESULT]]
    assert [each["tools"] for each in asked] == [["notes_add", "clock_now"]]


def test_the_demo_model_asks_for_what_it_is_told_to(
    model: IModel, model_url: str, token: str
) -> None:
    told = [{"match": token, "calls": [{"tool": "files.delete", "arguments": '{"broken'}]}]
    httpx.put(f"{model_url}/control", json=told).raise_for_status()

    (call,) = calls_of(ask(model, prompt(token)))

    assert (call.name, call.arguments) == ("files_delete", '{"broken')
