"""A language model as the worker sees it, whoever makes it."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from commons.schemas.event import FailureReason, Usage

ENVELOPE_SECONDS: Final = 2.0
"""How long the figures and the end mark of a complete answer are waited for."""

type ModelFinish = Literal["stop", "length", "filtered", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one participant said; `user` is anyone but the agent itself."""

    role: Literal["user", "agent"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool that the model may ask for.

    Attributes:
        name: 1 to 64 of `[A-Za-z0-9_-]`: what every provider takes.
        input_schema: JSON Schema of the arguments, an object's.
    """

    name: str
    description: str
    input_schema: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredCall:
    """A call that the model has asked for, and what came of it.

    Attributes:
        call_id: the provider's own, as it came.
        arguments: the JSON text of an object.
        result: what the model is told; data, whatever it says.
    """

    call_id: str
    name: str
    arguments: str
    result: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """An answer that ended in calls; `calls` is never empty."""

    text: str
    calls: Sequence[AnsweredCall]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One request. `instructions` stand apart from what anybody said, and so do results of tools.

    Attributes:
        tools: what the model may ask for.
        steps: what it has said and asked for in this reply, after the last of the turns.
        may_call: False: it is told that no more calls are made.
    """

    model_id: str
    instructions: str
    turns: Sequence[Turn]
    max_tokens: int
    temperature: float | None = None
    tools: Sequence[ToolSpec] = ()
    steps: Sequence[Step] = ()
    may_call: bool = True


@dataclass(frozen=True, slots=True)
class TextChunk:
    text: str


@dataclass(frozen=True, slots=True)
class SilentChunk:
    """A sign of life without text: the model thinks."""


@dataclass(frozen=True, slots=True)
class ToolCallChunk:
    """A call that the model asks for, whole; it comes before an EndChunk that says `tool_calls`.

    Attributes:
        call_id: the provider's own.
        arguments: as the model wrote them: they may be no JSON.
    """

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class EndChunk:
    """The last chunk; `usage` is None where the provider did not say."""

    finish: ModelFinish
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class UsageChunk:
    """What the provider has counted up to here, where it does so before the end."""

    usage: Usage


type Chunk = TextChunk | SilentChunk | UsageChunk | ToolCallChunk | EndChunk


class ModelFailedError(Exception):
    """The model did not answer.

    Attributes:
        reason: as members of the channel see it.
        retryable: the same request may fare better.
        retry_after: seconds the provider asks to wait; None where it does not say.
        refused: the provider turned the request away before it worked on it: nothing is paid.
        usage: what the provider says it cost, where it does.
    """

    def __init__(
        self,
        reason: FailureReason,
        *,
        retryable: bool,
        retry_after: float | None = None,
        refused: bool = False,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.retry_after = retry_after
        self.refused = refused
        self.usage = usage


class IModel(Protocol):
    """Asks a model once, without retries; it makes no calls itself."""

    def stream(self, prompt: Prompt) -> AsyncGenerator[Chunk]:
        """The answer as it comes; its last chunk is an EndChunk. Closing it hangs up.

        Raises:
            ModelFailedError: anywhere in the stream.
        """
        ...

    async def aclose(self) -> None:
        """Closes what is kept open between two requests."""
        ...
