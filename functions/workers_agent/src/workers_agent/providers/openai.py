"""Any server that speaks OpenAI's Chat Completions, streaming (docs/adr/0025)."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Set
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    WrapValidator,
)

from commons.observability import log
from commons.schemas.event import FailureReason, Usage
from commons.secrets import stored_secret
from workers_agent.model import (
    ENVELOPE_SECONDS,
    Chunk,
    EndChunk,
    ModelFailedError,
    ModelFinish,
    Prompt,
    SilentChunk,
    Step,
    TextChunk,
)
from workers_agent.providers.lenient import Wire, readable, word
from workers_agent.providers.openai_calls import CallPiece, StreamedCalls
from workers_agent.providers.thoughts import ThoughtFilter
from workers_agent.settings import AgentWorkerSettings

CONNECT_SECONDS: Final = 5.0

_MAX_ERROR_BYTES: Final = 16_384
_SILENT: Final = SilentChunk()
_FINISHES: Final[Mapping[str, ModelFinish]] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "filtered",
    "safety": "filtered",
    "recitation": "filtered",
}
"""By the reason in lower case. Any other word is a `stop`: servers spell it end_turn, eos, STOP."""

type Option = Literal[
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "tool_choice",
    "tools",
]
_OPTIONS: Final[tuple[Option, ...]] = (
    "stream_options",
    "max_completion_tokens",
    "max_tokens",
    "temperature",
    "tool_choice",
    "tools",
)
_OF_ONE_REQUEST: Final[frozenset[Option]] = frozenset({"tool_choice", "tools"})
"""What one model or one schema is refused for, others are not."""

_OTHER_NAMES: Final[Mapping[Option, Option]] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
"""One of the two is always sent."""


def _named(value: object) -> object:
    return value if value and isinstance(value, dict) else word(value)


_MAX_FIGURE: Final = 1_000_000_000

type _Figure = Annotated[Annotated[int, Field(le=_MAX_FIGURE)] | None, WrapValidator(readable)]


class _Part(Wire):
    type: str = "text"
    text: str | None = None


class _Delta(Wire):
    content: str | list[_Part] | None = None
    tool_calls: Annotated[list[CallPiece] | None, WrapValidator(readable)] = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content if part.type == "text")
        return self.content or ""


class _Choice(Wire):
    """`message` instead of `delta`: of a server that does not stream."""

    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: Annotated[str | None, BeforeValidator(word)] = None

    @property
    def said(self) -> _Delta:
        return self.delta or self.message or _Delta()


class _Figures(Wire):
    prompt_tokens: _Figure = None
    completion_tokens: _Figure = None


class _Error(Wire):
    type: Annotated[str | None, BeforeValidator(word)] = None
    code: Annotated[str | None, BeforeValidator(word)] = None


class _Completion(Wire):
    choices: list[_Choice] | None = None
    usage: Annotated[_Figures | None, WrapValidator(readable)] = None
    error: Annotated[_Error | str | None, BeforeValidator(_named)] = None


def build(settings: AgentWorkerSettings) -> "OpenAiModel":
    """The server that the settings name."""
    key = ""
    if settings.model_api_key_secret_arn:
        key = stored_secret(settings.model_api_key_secret_arn)
    return OpenAiModel(settings.model_url, api_key=key, idle_seconds=settings.model_idle_timeout)


class OpenAiModel:
    """IModel over one server.

    What the server refuses of a request's options it is not sent again.

    Args:
        base_url: such as `http://127.0.0.1:11434/v1`.
        api_key: empty: the server asks for none.
        idle_seconds: without a byte; the caller's own clock is shorter.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str = "",
        idle_seconds: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(idle_seconds + 1, connect=CONNECT_SECONDS),
            transport=transport,
        )
        # OpenAI's own models refuse the older name, Ollama and many gateways know no other.
        is_openai = urlsplit(base_url).hostname == "api.openai.com"
        self._refused: set[Option] = {"max_tokens" if is_openai else "max_completion_tokens"}
        self._takes_stream_options = False

    async def aclose(self) -> None:
        await self._client.aclose()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Chunk]:
        answer = _Answer(prompt.model_id)
        try:
            async with self._asked(prompt) as response:
                events = _server_sent(response)
                while (data := await answer.next_of(events)) is not None:
                    for chunk in answer.take(data):
                        yield chunk
        except (httpx.TransportError, httpx.DecodingError) as error:
            if not answer.has_finished:
                raise _transport_failure(error) from error
            log.info("stream broke off after its end", error=type(error).__name__)
        for chunk in answer.end():
            yield chunk

    @asynccontextmanager
    async def _asked(self, prompt: Prompt) -> AsyncIterator[httpx.Response]:
        """The server's answer, its body unread.

        Raises:
            ModelFailedError: the server refuses the request, whatever options are left out.
        """
        refused = set(self._refused)
        left_out: set[Option] = set()
        while True:
            body = self._body(prompt, refused)
            async with self._client.stream("POST", self._url, json=body) as response:
                if response.is_success:
                    # Only now: what did not help is sent again next time.
                    self._refused = refused - _OF_ONE_REQUEST
                    self._takes_stream_options = "stream_options" not in refused
                    yield response
                    return
                text = await _read_error(response)
                option = self._refused_option(response.status_code, text, refused | left_out)
                if option is None:
                    raise _refusal(response, text)
            log.warning("model server refuses an option", option=option)
            left_out.add(option)
            refused.add(option)
            if other := _OTHER_NAMES.get(option):
                refused.discard(other)

    def _body(self, prompt: Prompt, refused: Set[Option]) -> dict[str, object]:
        options: dict[Option, object] = {
            "stream_options": {"include_usage": True},
            "max_tokens": prompt.max_tokens,
            "max_completion_tokens": prompt.max_tokens,
        }
        if prompt.temperature is not None:
            options["temperature"] = prompt.temperature
        if prompt.tools:
            options["tools"] = _tools(prompt)
            if not prompt.may_call:
                options["tool_choice"] = "none"
        return {
            "model": prompt.model_id,
            "stream": True,
            "messages": _messages(prompt),
            **{name: value for name, value in options.items() if name not in refused},
        }

    def _refused_option(self, status: int, text: str, tried: Set[Option]) -> Option | None:
        """The option without which the request may be taken.

        Some servers refuse `stream_options` without a word about it, so it is left out once where
        the server has not taken it before.
        """
        if status not in {httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY}:
            return None
        for option in _OPTIONS:
            if option not in tried and option in text:
                return option
        if "stream_options" not in tried and not self._takes_stream_options:
            return "stream_options"
        return None


def _messages(prompt: Prompt) -> list[dict[str, object]]:
    roles = {"user": "user", "agent": "assistant"}
    messages: list[dict[str, object]] = [{"role": "system", "content": prompt.instructions}]
    messages += ({"role": roles[turn.role], "content": turn.text} for turn in prompt.turns)
    for step in prompt.steps:
        messages += _step(step)
    return messages


def _step(step: Step) -> Iterator[dict[str, object]]:
    """What was asked for, and each answer in a message of its own."""
    calls = [
        {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in step.calls
    ]
    yield {"role": "assistant", "content": step.text or None, "tool_calls": calls}
    for call in step.calls:
        # The protocol has no word for a call that failed.
        result = f"Error: {call.result}" if call.is_error else call.result
        yield {"role": "tool", "tool_call_id": call.call_id, "content": result}


def _tools(prompt: Prompt) -> list[dict[str, object]]:
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.input_schema,
            },
        }
        for tool in prompt.tools
    ]


class _Answer:
    """One answer as it comes: what is said and called, the reason of its end, the last figures."""

    def __init__(self, model_id: str) -> None:
        self._model_id = model_id
        self._thoughts = ThoughtFilter()
        self._calls = StreamedCalls()
        self._finish: ModelFinish | None = None
        self._usage: Usage | None = None
        self._is_over = False
        self._patient_until: float | None = None

    @property
    def has_finished(self) -> bool:
        """The text is complete; what may follow is figures."""
        return self._finish is not None

    async def next_of(self, events: AsyncIterator[str]) -> str | None:
        """The next event; None at the end, which a complete answer does not wait for."""
        if self._is_over:
            return None
        try:
            async with asyncio.timeout_at(self._patient_until):
                return await anext(events, None)
        except TimeoutError:
            return None

    def take(self, data: str) -> list[Chunk]:
        """What one data line says.

        Raises:
            ModelFailedError: it says that the server failed, before the answer was complete.
        """
        if data.strip() == "[DONE]":
            self._finish = self._finish or "stop"
            self._is_over = True
            return []
        try:
            completion = _Completion.model_validate_json(data)
        except ValidationError:
            # Comments that keep a connection alive are sent as data by some servers.
            return [_SILENT]
        if completion.error is not None and not self.has_finished:
            raise _stream_failure(completion.error)
        if completion.usage is not None:
            self._count(completion.usage)
        text = ""
        for choice in completion.choices or ():
            text += self._thoughts.take(choice.said.text)
            self._calls.take(choice.said.tool_calls or ())
            if choice.finish_reason is not None:
                self._finish = _FINISHES.get(choice.finish_reason.lower(), "stop")
        if self.has_finished and (text or self._patient_until is None):
            # What only keeps the connection alive renews nothing.
            self._patient_until = asyncio.get_running_loop().time() + ENVELOPE_SECONDS
        return [TextChunk(text) if text else _SILENT]

    def end(self) -> list[Chunk]:
        """The last chunks; calls of an answer that was cut short are none.

        Raises:
            ModelFailedError: the stream broke off.
        """
        if self._finish is None:
            raise ModelFailedError("model_error", retryable=True)
        rest = self._thoughts.rest()
        chunks: list[Chunk] = [TextChunk(rest)] if rest else []
        if self._finish == "stop" and self._calls:
            # Some servers end an answer that asks for calls with `stop`.
            return [*chunks, *self._calls.whole(), EndChunk("tool_calls", self._usage)]
        return [*chunks, EndChunk(self._finish, self._usage)]

    def _count(self, figures: _Figures) -> None:
        """Servers that count in every chunk count up: the last figure is the whole."""
        if figures.prompt_tokens is None and figures.completion_tokens is None:
            return
        self._usage = Usage(
            model_id=self._model_id,
            input_tokens=max(0, figures.prompt_tokens or 0),
            output_tokens=max(0, figures.completion_tokens or 0),
        )


async def _server_sent(response: httpx.Response) -> AsyncIterator[str]:
    """The data of each event; the whole body where the server does not stream.

    httpx's own lines end at U+2028 too, which may stand in the middle of a JSON text.
    """
    if response.headers.get("content-type", "").startswith("application/json"):
        yield (await response.aread()).decode(errors="replace")
        yield "[DONE]"
        return
    data: list[str] = []
    held = b""
    async for piece in response.aiter_bytes():
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").removesuffix("\r")
            if text.startswith("data:"):
                data.append(text.removeprefix("data:").removeprefix(" "))
            elif not text and data:
                yield "\n".join(data)
                data = []
    if held.startswith(b"data:"):
        data.append(held.decode(errors="replace").removeprefix("data:").strip())
    if data:
        yield "\n".join(data)


async def _read_error(response: httpx.Response) -> str:
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > _MAX_ERROR_BYTES:
            break
    return body[:_MAX_ERROR_BYTES].decode(errors="replace")


def _refusal(response: httpx.Response, text: str) -> ModelFailedError:
    status = response.status_code
    code = _error_code(text)
    # The text itself may quote the prompt or the key.
    log.warning("model server refused", status=status, code=code)
    reason: FailureReason = "model_error"
    retryable = status >= httpx.codes.INTERNAL_SERVER_ERROR
    match status:
        case 429 | 529:
            reason, retryable = "throttled", code != "insufficient_quota"
        case 408 | 504:
            reason, retryable = "timeout", True
    return ModelFailedError(
        reason, retryable=retryable, retry_after=_retry_after(response), refused=True
    )


def _retry_after(response: httpx.Response) -> float | None:
    try:
        return max(0.0, float(response.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def _error_code(text: str) -> str | None:
    """The machine's word for an error, never its sentence."""
    try:
        error = _Completion.model_validate_json(text).error
    except ValidationError:
        return None
    if not isinstance(error, _Error):
        return None
    code = error.code or error.type
    return None if code is None else code[:64]


def _stream_failure(error: _Error | str) -> ModelFailedError:
    code = ((error.code or error.type or "") if isinstance(error, _Error) else "").lower()
    log.warning("model server failed in the stream", code=code[:64])
    if "rate_limit" in code or "thrott" in code or code == "429":
        return ModelFailedError("throttled", retryable=True)
    return ModelFailedError("model_error", retryable="invalid" not in code)


def _transport_failure(error: httpx.TransportError | httpx.DecodingError) -> ModelFailedError:
    log.warning("model server not reached", error=type(error).__name__)
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.UnsupportedProtocol():
            return ModelFailedError("model_error", retryable=True, refused=True)
        case httpx.TimeoutException():
            return ModelFailedError("timeout", retryable=True)
        case _:
            return ModelFailedError("model_error", retryable=True)
