"""IModel over pydantic-ai: the one module that imports it.

The direct request, not an Agent: without tools there is no loop to run, and an Agent would ask again,
and pay again, on its own account when an answer is empty.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from botocore.exceptions import BotoCoreError, EventStreamError
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAPIError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    ModelTimeoutError,
)
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    UserPromptPart,
)
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from commons.schemas.event import Usage
from workers_agent.model import (
    Chunk,
    EndChunk,
    ModelFailedError,
    ModelFinish,
    Prompt,
    SilentChunk,
    TextChunk,
)

_SILENT: Final = SilentChunk()


class PydanticAIModel:
    """IModel over any model of pydantic-ai.

    Args:
        build: the pydantic-ai model of a model id; called for each request.
        close: closes the provider's client.
    """

    def __init__(
        self, build: Callable[[str], Model], *, close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._build = build
        self._close = close

    async def aclose(self) -> None:
        if self._close is not None:
            await self._close()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Chunk]:
        try:
            async with model_request_stream(
                self._build(prompt.model_id), _messages(prompt), model_settings=_settings(prompt)
            ) as response:
                async for event in response:
                    if (chunk := _chunk(event)) is not None:
                        yield chunk
                yield _end(prompt, response.get())
        except AgentRunError as error:
            raise _failure(error) from error
        except BotoCoreError as error:
            # Such as missing credentials: before anything was sent.
            raise ModelFailedError("model_error", retryable=False) from error


def _messages(prompt: Prompt) -> list[ModelMessage]:
    messages: list[ModelMessage] = []
    for turn in prompt.turns:
        if turn.role == "agent":
            messages.append(ModelResponse(parts=[TextPart(turn.text)]))
        else:
            part = UserPromptPart(turn.text)
            messages.append(ModelRequest(parts=[part], instructions=prompt.instructions))
    return messages


def _settings(prompt: Prompt) -> ModelSettings:
    settings = ModelSettings(max_tokens=prompt.max_tokens)
    if prompt.temperature is not None:
        settings["temperature"] = prompt.temperature
    return settings


def _chunk(event: ModelResponseStreamEvent) -> Chunk | None:
    match event:
        case PartStartEvent(part=TextPart(content=text)):
            return TextChunk(text) if text else _SILENT
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return TextChunk(text) if text else _SILENT
        case PartStartEvent() | PartDeltaEvent():
            return _SILENT
        case _:
            return None


def _end(prompt: Prompt, response: ModelResponse) -> EndChunk:
    finish: ModelFinish
    match response.finish_reason:
        case "length":
            finish = "length"
        case "content_filter":
            finish = "filtered"
        case "stop" | "tool_call":
            finish = "stop"
        case "error" | None:
            # Without a reason the stream broke off: both protocols give one at the end.
            raise ModelFailedError("model_error", retryable=True)
    return EndChunk(finish, _usage(prompt, response))


def _usage(prompt: Prompt, response: ModelResponse) -> Usage | None:
    usage = response.usage
    if usage.unmeasured_requests or not usage.has_values():
        return None
    return Usage(
        model_id=prompt.model_id,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
    )


def _failure(error: AgentRunError) -> ModelFailedError:
    match error:
        case ModelQuotaExceededError():
            return ModelFailedError("throttled", retryable=False)
        case ModelRateLimitError():
            return ModelFailedError("throttled", retryable=True, retry_after=error.retry_after)
        # The last is modelTimeoutException, the one that ConverseStream's model lacks of those in a
        # stream: the SDK raises it without a name.
        case (
            ModelRequestTimeout()
            | ModelTimeoutError()
            | ModelHTTPError(status_code=408)
            | ModelAPIError(__cause__=EventStreamError(response={"Error": {"Code": ""}}))
        ):
            return ModelFailedError("timeout", retryable=True)
        case ModelRequestRejectedError():
            return ModelFailedError("model_error", retryable=False)
        case ModelAPIError():
            return ModelFailedError("model_error", retryable=True, retry_after=error.retry_after)
        case _:
            return ModelFailedError("model_error", retryable=True)
