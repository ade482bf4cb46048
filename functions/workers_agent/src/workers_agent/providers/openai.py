"""Any server that speaks OpenAI's Chat Completions, streaming (docs/adr/0025)."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Set
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import (
    BeforeValidator,
    Field,
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
    UsageChunk,
)
from workers_agent.providers.lenient import Wire, readable, word
from workers_agent.providers.openai_calls import CallPiece, StreamedCalls
from workers_agent.providers.server_sent import is_end, server_sent
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


_UNKNOWN: Final = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|forbidden"
    r"|extra|deprecated|instead|invalid parameter|not a valid|no such|additional propert",
    re.IGNORECASE,
)
"""How servers say that they do not know an option, and not that its value is wrong."""

_BOUND: Final = re.compile(
    r"maximum|minimum|at (most|least)|(less|greater|larger|higher|lower) than|exceed"
    r"|too (large|high|small|low|many|few)|range|between",
    re.IGNORECASE,
)
"""How they say that a number is wrong, whatever else they say."""


def _named(value: object) -> object:
    return value if value and isinstance(value, dict) else word(value)


_MAX_FIGURE: Final = 1_000_000_000

type _Figure = Annotated[Annotated[int, Field(le=_MAX_FIGURE)] | None, WrapValidator(readable)]


def _parts(value: object) -> object:
    """A part may be a text by itself, and one part may come without its list."""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list):
        return [{"text": each} if isinstance(each, str) else each for each in value]
    return value


class _Part(Wire):
    type: Annotated[str | None, BeforeValidator(word)] = None
    text: str | None = None

    @property
    def shown(self) -> str:
        return (self.text or "") if self.type in {None, "text", "output_text"} else ""


type _Readable[Each] = Annotated[Each | None, WrapValidator(readable)]


class _Delta(Wire):
    """What one chunk adds; a part or a call that cannot be read takes no other along."""

    content: Annotated[str | list[_Readable[_Part]] | None, BeforeValidator(_parts)] = None
    tool_calls: _Readable[list[_Readable[CallPiece]]] = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.shown for part in self.content if part is not None)
        return self.content or ""

    @property
    def calls(self) -> list[CallPiece]:
        return [each for each in self.tool_calls or () if each is not None]


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

    What the server refuses of a request's options it is not sent again for that model.

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
        self._other_name: Option = "max_tokens" if is_openai else "max_completion_tokens"
        self._refused: dict[str, frozenset[Option]] = {}
        self._take_stream_options: set[str] = set()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Chunk]:
        answer = _Answer(prompt.model_id)
        try:
            async with self._asked(prompt) as response:
                events = server_sent(response)
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
        model = prompt.model_id
        refused = set(self._refused.get(model, {self._other_name}))
        left_out: set[Option] = set()
        of_this_request = set(_OF_ONE_REQUEST)
        while True:
            body = self._body(prompt, refused)
            async with self._client.stream("POST", self._url, json=body) as response:
                if response.is_success:
                    # Only now: what did not help is sent again next time.
                    self._refused[model] = frozenset(refused - of_this_request)
                    if "stream_options" not in refused:
                        self._take_stream_options.add(model)
                    yield response
                    return
                text = await _read_error(response)
                tried = refused | left_out
                option = self._refused_option(model, response.status_code, text, tried)
                if option is None:
                    raise _refusal(response, text)
            log.warning("model server refuses an option", option=option)
            left_out.add(option)
            refused.add(option)
            if option in text and not _is_unknown(text):
                # A value was wrong, which another request may not have.
                of_this_request.add(option)
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

    def _refused_option(
        self, model: str, status: int, text: str, tried: Set[Option]
    ) -> Option | None:
        """The option without which the request may be taken.

        Some servers refuse `stream_options` without a word about it, so it is left out once where
        the model has not been asked with it before. The limit of the answer is never left out: it is
        sent by its other name where the server does not know this one, and where its value is wrong
        the request is.
        """
        if status not in {httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY}:
            return None
        for option in _OPTIONS:
            if option in tried or option not in text:
                continue
            if option not in _OTHER_NAMES or _is_unknown(text):
                return option
        if "stream_options" not in tried and model not in self._take_stream_options:
            return "stream_options"
        return None


def _is_unknown(text: str) -> bool:
    """Whether a refusal says that the server does not know an option."""
    said = "\n".join(_sentences(text))
    return _UNKNOWN.search(said) is not None and _BOUND.search(said) is None


def _sentences(text: str) -> Iterator[str]:
    """What a refusal says itself: validators quote the request beside it."""
    try:
        told = list(_told(json.loads(text)))
    except (ValueError, RecursionError):
        told = []
    yield from told or (text,)


def _told(refusal: object) -> Iterator[str]:
    match refusal:
        case dict():
            for key, value in refusal.items():
                if isinstance(value, str) and key in {"message", "msg", "detail", "error", "type"}:
                    yield value
                elif key != "input":
                    yield from _told(value)
        case list():
            for each in refusal:
                yield from _told(each)


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
        if is_end(data):
            self._finish = self._finish or "stop"
            self._is_over = True
            return []
        completion = _read(data)
        if completion is None:
            # Comments that keep a connection alive are sent as data by some servers.
            return [_SILENT]
        if completion.error is not None and not self.has_finished:
            raise _stream_failure(completion.error)
        text = ""
        for choice in completion.choices or ():
            text += self._thoughts.take(choice.said.text)
            self._calls.take(choice.said.calls)
            if choice.finish_reason is not None:
                self._finish = _FINISHES.get(choice.finish_reason.lower(), "stop")
            elif choice.message is not None:
                # The server does not stream: this is all of it.
                self._finish = self._finish or "stop"
        if self.has_finished and (text or self._patient_until is None):
            # What only keeps the connection alive renews nothing.
            self._patient_until = asyncio.get_running_loop().time() + ENVELOPE_SECONDS
        chunks: list[Chunk] = [TextChunk(text) if text else _SILENT]
        if completion.usage is not None and (usage := self._count(completion.usage)):
            chunks.append(UsageChunk(usage))
        return chunks

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

    def _count(self, figures: _Figures) -> Usage | None:
        """Servers that count in every chunk count up: the last figure is the whole."""
        if figures.prompt_tokens is None and figures.completion_tokens is None:
            return None
        known = self._usage or Usage(model_id=self._model_id, input_tokens=0, output_tokens=0)
        sent, written = figures.prompt_tokens, figures.completion_tokens
        self._usage = Usage(
            model_id=self._model_id,
            input_tokens=known.input_tokens if sent is None else max(0, sent),
            output_tokens=known.output_tokens if written is None else max(0, written),
        )
        return self._usage


def _read(text: str) -> _Completion | None:
    """Python's own reader takes halves of characters and raw control characters, pydantic's does not."""
    try:
        return _Completion.model_validate(json.loads(text, strict=False))
    except (ValueError, RecursionError):
        return None


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
    completion = _read(text)
    error = None if completion is None else completion.error
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
