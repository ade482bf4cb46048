"""Bedrock's ConverseStream (docs/adr/0025)."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.eventstream import ParserError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    EventStreamError,
    HTTPClientError,
    ReadTimeoutError,
)
from urllib3.exceptions import HTTPError as BrokenStreamError
from urllib3.exceptions import ReadTimeoutError as StalledStreamError

from commons.observability import log
from commons.schemas.event import FailureReason, Usage
from workers_agent.model import (
    ENVELOPE_SECONDS,
    Chunk,
    EndChunk,
    ModelFailedError,
    ModelFinish,
    Prompt,
    SilentChunk,
    TextChunk,
)
from workers_agent.settings import AgentWorkerSettings

if TYPE_CHECKING:
    from botocore.eventstream import EventStream
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient
    from mypy_boto3_bedrock_runtime.type_defs import (
        ContentBlockUnionTypeDef,
        ConverseStreamOutputTypeDef,
        ConverseStreamRequestTypeDef,
        MessageUnionTypeDef,
        SystemContentBlockTypeDef,
    )

CONNECT_SECONDS: Final = 5.0

CACHING_MODELS: Final = (
    "amazon.nova",
    "anthropic.claude-3-5-haiku",
    "anthropic.claude-3-7",
    "anthropic.claude-haiku-4",
    "anthropic.claude-opus-4",
    "anthropic.claude-sonnet-4",
)
"""Models that take cache points; others refuse the whole request (Bedrock user guide, "Prompt
caching for faster model inference")."""

_SILENT: Final = SilentChunk()
_CACHED_TURNS: Final = 2
"""The end of the last question, which is read, and of this one, which is written."""

_FINISHES: Final[Mapping[str, ModelFinish]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "filtered",
    "content_filtered": "filtered",
}

_THROTTLED: Final = frozenset(
    {"ThrottlingException", "TooManyRequestsException", "ServiceQuotaExceededException"}
)
_TIMED_OUT: Final = frozenset({"ModelTimeoutException"})
_TRANSIENT: Final = frozenset(
    {
        "InternalServerException",
        "ModelErrorException",
        "ModelNotReadyException",
        "ModelStreamErrorException",
        "ServiceUnavailableException",
    }
)
_SERVER_ERROR: Final = 500


def build(settings: AgentWorkerSettings) -> "BedrockModel":
    client = boto3.client(
        "bedrock-runtime",
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            # The worker's own clock is first; this one frees the thread behind it.
            read_timeout=settings.model_idle_timeout + 1,
            # The worker repeats: it knows what was streamed and how much time is left.
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=50,
        ),
    )
    return BedrockModel(client)


class BedrockModel:
    """IModel over Bedrock: blocking calls, each in a thread."""

    def __init__(self, client: "BedrockRuntimeClient") -> None:
        self._client = client

    async def aclose(self) -> None:
        self._client.close()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Chunk]:
        answer = _Answer(prompt.model_id)
        try:
            events = await self._ask(prompt)
            try:
                iterator = iter(events)
                while (event := await answer.next_of(iterator)) is not None:
                    yield answer.take(event)
            finally:
                events.close()
        except (ClientError, BotoCoreError, BrokenStreamError, ParserError) as error:
            if not answer.has_finished:
                raise _failure(error) from error
            log.info("stream broke off after its end", error=type(error).__name__)
        yield answer.end()

    async def _ask(self, prompt: Prompt) -> "EventStream[ConverseStreamOutputTypeDef]":
        request = _request(prompt)
        asking = asyncio.ensure_future(
            asyncio.to_thread(lambda: self._client.converse_stream(**request)["stream"])
        )
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            # The thread cannot be stopped: what it still brings is hung up on.
            asking.add_done_callback(_hang_up)
            raise


def _hang_up(asking: "asyncio.Future[EventStream[ConverseStreamOutputTypeDef]]") -> None:
    if not asking.cancelled() and asking.exception() is None:
        asking.result().close()


class _Answer:
    """One answer as it comes: the reason of its end, and the figures after that."""

    def __init__(self, model_id: str) -> None:
        self._model_id = model_id
        self._finish: ModelFinish | None = None
        self._usage: Usage | None = None

    @property
    def has_finished(self) -> bool:
        """The text is complete; what may follow is figures."""
        return self._finish is not None

    async def next_of(
        self, events: "Iterator[ConverseStreamOutputTypeDef]"
    ) -> "ConverseStreamOutputTypeDef | None":
        """The next event; None at the end, which a complete answer does not wait for."""
        if self.has_finished and self._usage is not None:
            return None
        waiting = asyncio.to_thread(next, events, None)
        try:
            return await asyncio.wait_for(waiting, ENVELOPE_SECONDS if self.has_finished else None)
        except TimeoutError:
            return None

    def take(self, event: "ConverseStreamOutputTypeDef") -> Chunk:
        if stop := event.get("messageStop"):
            self._finish = _FINISHES.get(stop["stopReason"], "stop")
        if metadata := event.get("metadata"):
            usage = metadata["usage"]
            self._usage = Usage(
                model_id=self._model_id,
                # What was read from or written to the cache is input too.
                input_tokens=usage["inputTokens"]
                + usage.get("cacheReadInputTokens", 0)
                + usage.get("cacheWriteInputTokens", 0),
                output_tokens=usage["outputTokens"],
            )
        if block := event.get("contentBlockDelta"):
            text = block["delta"].get("text")
            return TextChunk(text) if text else _SILENT
        return _SILENT

    def end(self) -> EndChunk:
        """The last chunk.

        Raises:
            ModelFailedError: the stream broke off.
        """
        if self._finish is None:
            raise ModelFailedError("model_error", retryable=True)
        return EndChunk(self._finish, self._usage)


def _request(prompt: Prompt) -> "ConverseStreamRequestTypeDef":
    caches = _can_cache(prompt.model_id)
    system: list[SystemContentBlockTypeDef] = [{"text": prompt.instructions}]
    if caches:
        system.append({"cachePoint": {"type": "default"}})
    questions = [at for at, turn in enumerate(prompt.turns) if turn.role == "user"]
    cached = questions[-_CACHED_TURNS:] if caches else []
    messages: list[MessageUnionTypeDef] = []
    for position, turn in enumerate(prompt.turns):
        content: list[ContentBlockUnionTypeDef] = [{"text": turn.text}]
        if position in cached:
            content.append({"cachePoint": {"type": "default"}})
        messages.append(
            {"role": "user" if turn.role == "user" else "assistant", "content": content}
        )
    request: ConverseStreamRequestTypeDef = {
        "modelId": prompt.model_id,
        "system": system,
        "messages": messages,
        "inferenceConfig": {"maxTokens": prompt.max_tokens},
    }
    if prompt.temperature is not None:
        request["inferenceConfig"] = {
            "maxTokens": prompt.max_tokens,
            "temperature": prompt.temperature,
        }
    return request


def _can_cache(model_id: str) -> bool:
    """Of a model or of a cross-region profile of it (`eu.` …)."""
    return any(family in model_id for family in CACHING_MODELS)


def _failure(
    error: ClientError | BotoCoreError | BrokenStreamError | ParserError,
) -> ModelFailedError:
    if isinstance(error, ClientError):
        return _client_failure(error)
    log.warning("model not reached", error=type(error).__name__)
    match error:
        case EndpointConnectionError() | ConnectTimeoutError():
            return ModelFailedError("model_error", retryable=True, refused=True)
        case ReadTimeoutError() | StalledStreamError():
            return ModelFailedError("timeout", retryable=True)
        case HTTPClientError() | BrokenStreamError() | ParserError():
            return ModelFailedError("model_error", retryable=True)
        case _:
            # Such as missing credentials: before anything was sent.
            return ModelFailedError("model_error", retryable=False, refused=True)


def _client_failure(error: ClientError) -> ModelFailedError:
    code = error.response["Error"].get("Code", "")
    metadata = error.response.get("ResponseMetadata")
    status = metadata["HTTPStatusCode"] if metadata is not None else 0
    in_stream = isinstance(error, EventStreamError)
    log.warning("model refused", code=code, status=status, in_stream=in_stream)
    # An event stream spells an exception's name with a small letter.
    name = code[:1].upper() + code[1:]
    reason: FailureReason = "model_error"
    retryable = name in _TRANSIENT or status >= _SERVER_ERROR
    if name in _THROTTLED:
        reason, retryable = "throttled", True
    elif name in _TIMED_OUT or (in_stream and not name):
        # modelTimeoutException is the one that the SDK's model lacks: it comes without a name.
        reason, retryable = "timeout", True
    return ModelFailedError(
        reason,
        retryable=retryable,
        retry_after=_retry_after(metadata["HTTPHeaders"] if metadata is not None else {}),
        refused=not in_stream,
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None
