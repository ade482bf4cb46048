"""The adapter over pydantic-ai, on its own test models."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelTimeoutError,
    UnexpectedModelBehavior,
)
from pydantic_ai.messages import FinishReason, ModelMessage
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.models.function import (
    AgentInfo,
    DeltaThinkingCalls,
    DeltaThinkingPart,
    FunctionModel,
)
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from workers_agent.model import (
    Chunk,
    EndChunk,
    ModelFailedError,
    Prompt,
    SilentChunk,
    TextChunk,
    Turn,
)
from workers_agent.pydantic_model import PydanticAIModel

PROMPT = Prompt(
    model_id="m",
    instructions="Be brief.",
    turns=[Turn("user", "One"), Turn("agent", "Two"), Turn("user", "Three")],
    max_tokens=9,
    temperature=0.5,
)


class Ending(WrapperModel):
    """Gives the reason that pydantic-ai's test models leave out."""

    def __init__(self, wrapped: FunctionModel, reason: FinishReason | None) -> None:
        super().__init__(wrapped)
        self._reason = reason

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: Any = None,
    ) -> AsyncGenerator[StreamedResponse]:
        async with super().request_stream(
            messages, model_settings, model_request_parameters, run_context
        ) as response:
            response.finish_reason = self._reason
            yield response


def _stream(function: Any, reason: FinishReason | None = "stop") -> list[Chunk]:
    model = PydanticAIModel(lambda _id: Ending(FunctionModel(stream_function=function), reason))

    async def collect() -> list[Chunk]:
        return [chunk async for chunk in model.stream(PROMPT)]

    return asyncio.run(collect())


async def _hello(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    yield "Hel"
    yield "lo"


def test_text_comes_piece_by_piece_and_then_the_end() -> None:
    *chunks, end = _stream(_hello)

    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk)) == "Hello"
    assert isinstance(end, EndChunk)
    assert end.finish == "stop"
    assert end.usage is not None
    assert end.usage.model_id == "m"


def test_instructions_and_turns_keep_their_roles() -> None:
    seen: list[tuple[list[ModelMessage], AgentInfo]] = []

    async def look(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        seen.append((messages, info))
        yield "Hi"

    _stream(look)

    ((messages, info),) = seen
    assert [message.kind for message in messages] == ["request", "response", "request"]
    assert info.instructions == "Be brief."
    assert info.model_settings is not None
    assert info.model_settings.get("max_tokens") == 9
    assert info.model_settings.get("temperature") == 0.5
    assert info.function_tools == []


def test_thinking_is_a_sign_of_life_without_text() -> None:
    async def think(
        _messages: list[ModelMessage], _info: AgentInfo
    ) -> AsyncIterator[str | DeltaThinkingCalls]:
        yield {0: DeltaThinkingPart(content="hm")}
        yield "Yes"

    chunks = _stream(think)

    assert isinstance(chunks[0], SilentChunk)
    assert TextChunk("Yes") in chunks


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("length", "length"), ("content_filter", "filtered"), ("stop", "stop")],
)
def test_the_reason_of_the_end_is_said(reason: FinishReason, finish: str) -> None:
    end = _stream(_hello, reason)[-1]

    assert isinstance(end, EndChunk)
    assert end.finish == finish


def test_a_stream_without_a_reason_broke_off() -> None:
    with pytest.raises(ModelFailedError) as raised:
        _stream(_hello, None)

    assert raised.value.retryable


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        (ModelRateLimitError("m", "slow down", retry_after=3.0), "throttled", True),
        (ModelQuotaExceededError("m", "no credit"), "throttled", False),
        (ModelTimeoutError("m", "too late"), "timeout", True),
        (ModelHTTPError(408, "m"), "timeout", True),
        (ModelHTTPError(500, "m"), "model_error", True),
        (ModelAuthenticationError("m", "who are you"), "model_error", False),
        (ModelAPIError("m", "nonsense"), "model_error", True),
        (UnexpectedModelBehavior("nonsense"), "model_error", True),
    ],
)
def test_each_error_has_its_reason(error: Exception, reason: str, retryable: bool) -> None:
    async def fail(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
        yield "Well"
        raise error

    with pytest.raises(ModelFailedError) as raised:
        _stream(fail)

    assert (raised.value.reason, raised.value.retryable) == (reason, retryable)
    assert raised.value.retry_after == (3.0 if reason == "throttled" and retryable else None)
