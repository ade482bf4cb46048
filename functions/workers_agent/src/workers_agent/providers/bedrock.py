"""Bedrock's ConverseStream (docs/adr/0025)."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
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
    ToolCallChunk,
)
from workers_agent.providers.bedrock_request import request_of
from workers_agent.settings import AgentWorkerSettings

if TYPE_CHECKING:
    from botocore.eventstream import EventStream
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient
    from mypy_boto3_bedrock_runtime.type_defs import ConverseStreamOutputTypeDef
    from urllib3 import HTTPResponse

CONNECT_SECONDS: Final = 5.0

_SILENT: Final = SilentChunk()
_FINISHES: Final[Mapping[str, ModelFinish]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "filtered",
    "content_filtered": "filtered",
}
_MALFORMED: Final = frozenset({"malformed_model_output", "malformed_tool_use"})
"""Ends of an answer that cannot be used; asked again, the model may do better."""

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

_CLOSED: Final = (AttributeError, OSError, RuntimeError, ValueError, BrokenStreamError)
"""What closing says where the reader's thread has closed at the same moment, or has read all."""


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
                await _hang_up(events)
        except (ClientError, BotoCoreError, BrokenStreamError, ParserError) as error:
            if not answer.has_finished:
                raise _failure(error) from error
            log.info("stream broke off after its end", error=type(error).__name__)
        for chunk in answer.end():
            yield chunk

    async def _ask(self, prompt: Prompt) -> "EventStream[ConverseStreamOutputTypeDef]":
        request = request_of(prompt)
        asking = asyncio.ensure_future(
            asyncio.to_thread(lambda: self._client.converse_stream(**request)["stream"])
        )
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            # The thread cannot be stopped: what it still brings is hung up on.
            asking.add_done_callback(_refuse)
            raise


async def _hang_up(events: "EventStream[ConverseStreamOutputTypeDef]") -> None:
    """Ends the stream though a thread waits for its next event.

    Closing alone would wait as well, for as long as the model is silent: the reader holds a lock.
    An answer that is complete is none the worse for trouble here.
    """
    raw: HTTPResponse | None = getattr(events, "_raw_stream", None)
    try:
        if raw is not None:
            raw.shutdown()
    except _CLOSED as error:
        # Mostly because all was read already.
        log.info("stream not shut down", error=type(error).__name__)
    try:
        await asyncio.shield(asyncio.to_thread(events.close))
    except _CLOSED as error:
        log.warning("stream not closed", error=type(error).__name__)


def _refuse(asking: "asyncio.Future[EventStream[ConverseStreamOutputTypeDef]]") -> None:
    if not asking.cancelled() and asking.exception() is None:
        asking.result().close()


@dataclass(slots=True)
class _ToolUse:
    """A call as it comes."""

    call_id: str
    name: str
    arguments: str = ""


class _Answer:
    """One answer as it comes: its calls, the reason of its end, and the figures after that."""

    def __init__(self, model_id: str) -> None:
        self._model_id = model_id
        self._finish: ModelFinish | None = None
        self._usage: Usage | None = None
        self._calls: dict[int, _ToolUse] = {}

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
        """What one event says.

        Raises:
            ModelFailedError: the answer cannot be used.
        """
        if stop := event.get("messageStop"):
            if stop["stopReason"] in _MALFORMED:
                raise ModelFailedError("model_error", retryable=True)
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
        if opening := event.get("contentBlockStart"):
            if tool := opening["start"].get("toolUse"):
                begun = _ToolUse(tool["toolUseId"], tool["name"])
                self._calls[opening["contentBlockIndex"]] = begun
            return _SILENT
        if block := event.get("contentBlockDelta"):
            piece = block["delta"].get("toolUse")
            call = self._calls.get(block["contentBlockIndex"])
            if piece is not None and call is not None:
                call.arguments += piece["input"]
            text = block["delta"].get("text")
            return TextChunk(text) if text else _SILENT
        return _SILENT

    def end(self) -> list[Chunk]:
        """The last chunks; calls of an answer that was cut short are none.

        Raises:
            ModelFailedError: the stream broke off.
        """
        if self._finish is None:
            raise ModelFailedError("model_error", retryable=True)
        if self._finish != "stop" or not self._calls:
            return [EndChunk(self._finish, self._usage)]
        calls = [
            ToolCallChunk(call.call_id, call.name, call.arguments) for call in self._calls.values()
        ]
        return [*calls, EndChunk("tool_calls", self._usage)]


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
