"""One answer, from the model's first word to the last, whatever happens in between."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import count
from typing import Final, Protocol

from commons.observability import log
from commons.schemas.event import FinishReason, Usage
from commons.schemas.types import MAX_TEXT
from workers_agent.model import (
    Chunk,
    EndChunk,
    IModel,
    ModelFailedError,
    Prompt,
    SilentChunk,
    ToolCallChunk,
    UsageChunk,
)
from workers_agent.pace import Pace
from workers_agent.services.deltas import DeltaBroadcast

MAX_ATTEMPTS: Final = 4
MAX_EMPTY_ATTEMPTS: Final = 2
"""A model that has nothing to say is asked once more, no oftener: each time costs."""

_MAX_BACKOFF_SECONDS: Final = 8.0
_BLANK_LINE: Final = "\n\n"


@dataclass(frozen=True, slots=True)
class Written:
    """How the model ended; the text is the broadcast's.

    Attributes:
        calls: what it asks for before it goes on; it has ended for good where there are none.
    """

    finish_reason: FinishReason
    usage: Usage | None
    calls: Sequence[ToolCallChunk] = ()


class IAttempts(Protocol):
    """What each attempt needs, and what it leaves."""

    async def begin(self) -> Prompt:
        """The prompt, built anew: what it held may have been deleted since the one before."""
        ...

    def counted(self, usage: Usage) -> None:
        """What the provider has counted of the attempt that runs."""
        ...

    def ended(self, failure: ModelFailedError) -> None:
        """An attempt came to nothing."""
        ...


class AnswerWriter:
    """Streams an answer, and asks again while that may help.

    Retries stop when the time is over, at the fourth attempt, and at an error that would come again.
    A model that has said nothing for too long is hung up on and not asked again: whoever waits has
    waited long enough.
    """

    def __init__(self, model: IModel, *, pace: Pace) -> None:
        self._model = model
        self._pace = pace

    async def write(
        self, attempts: IAttempts, deltas: DeltaBroadcast, *, seconds: float
    ) -> Written:
        """Writes into `deltas` until the model has ended, for so long at most.

        Raises:
            ModelFailedError: no attempt was answered.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        for attempt in count(1):
            prompt = await attempts.begin()
            try:
                async with asyncio.timeout_at(deadline) as clock:
                    return await self._attempt(prompt, attempts, deltas)
            except TimeoutError:
                if not clock.expired():
                    raise
                failure = ModelFailedError("timeout", retryable=False)
                attempts.ended(failure)
                raise failure from None
            except ModelFailedError as failure:
                attempts.ended(failure)
                pause = self._backoff(attempt, failure)
                out_of_time = asyncio.get_running_loop().time() + pause >= deadline
                if not _may_try_again(attempt, failure) or out_of_time:
                    raise
                log.warning("model asked again", reason=failure.reason, attempt=attempt)
            await asyncio.sleep(pause)
            deltas.start_anew()
        raise AssertionError("unreachable")

    async def _attempt(
        self, prompt: Prompt, attempts: IAttempts, deltas: DeltaBroadcast
    ) -> Written:
        pairs = _SurrogatePairs()
        calls: list[ToolCallChunk] = []
        async with aclosing(self._model.stream(prompt)) as chunks:
            while True:
                chunk = await self._next(chunks)
                if isinstance(chunk, EndChunk):
                    return _ended(chunk, deltas.text, calls)
                if isinstance(chunk, ToolCallChunk):
                    if prompt.tools:
                        calls.append(chunk)
                    continue
                if isinstance(chunk, UsageChunk):
                    attempts.counted(chunk.usage)
                    continue
                if isinstance(chunk, SilentChunk):
                    continue
                room = MAX_TEXT - len(deltas.text)
                text = _set_off(pairs.join(chunk.text), deltas)
                deltas.add(text[:room])
                if len(text) > room:
                    return Written("length", None)

    async def _next(self, chunks: AsyncGenerator[Chunk]) -> Chunk:
        try:
            async with asyncio.timeout(self._pace.idle):
                return await anext(chunks)
        except TimeoutError:
            raise ModelFailedError("timeout", retryable=False) from None
        except StopAsyncIteration:
            raise ModelFailedError("model_error", retryable=True) from None

    def _backoff(self, attempt: int, failure: ModelFailedError) -> float:
        """Full jitter up to a bound that doubles; never less than the provider asks for."""
        bound = min(_MAX_BACKOFF_SECONDS, self._pace.first_backoff * 2 ** (attempt - 1))
        jitter = random.uniform(bound / 2, bound)  # noqa: S311 - spreads load, guards nothing
        return max(jitter, failure.retry_after or 0.0)


def _set_off(text: str, deltas: DeltaBroadcast) -> str:
    """A blank line stands between what was said before a call of a tool and after it."""
    is_first = not deltas.new_text and deltas.text and text
    is_set_off = deltas.text[-1:].isspace() or text[:1].isspace()
    return f"{_BLANK_LINE}{text}" if is_first and not is_set_off else text


def _may_try_again(attempt: int, failure: ModelFailedError) -> bool:
    limit = MAX_EMPTY_ATTEMPTS if failure.reason == "empty" else MAX_ATTEMPTS
    return failure.retryable and attempt < limit


def _ended(end: EndChunk, text: str, calls: Sequence[ToolCallChunk]) -> Written:
    if not text.strip() and not calls and end.finish != "filtered":
        raise ModelFailedError("empty", retryable=True, usage=end.usage)
    return Written("stop" if end.finish == "tool_calls" else end.finish, end.usage, calls)


class _SurrogatePairs:
    """Joins characters that a server has cut in two: half of one cannot be sent on."""

    def __init__(self) -> None:
        self._half = ""

    def join(self, text: str) -> str:
        text = self._half + text
        self._half = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
