"""A language model as the worker sees it, whoever makes it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from commons.schemas.event import FailureReason, Usage

ENVELOPE_SECONDS: Final = 2.0
"""How long the figures and the end mark of a complete answer are waited for."""

type ModelFinish = Literal["stop", "length", "filtered"]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one participant said; `user` is anyone but the agent itself."""

    role: Literal["user", "agent"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One request. `instructions` stand apart from what anybody said."""

    model_id: str
    instructions: str
    turns: Sequence[Turn]
    max_tokens: int
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class TextChunk:
    text: str


@dataclass(frozen=True, slots=True)
class SilentChunk:
    """A sign of life without text: the model thinks."""


@dataclass(frozen=True, slots=True)
class EndChunk:
    """The last chunk; `usage` is None where the provider did not say."""

    finish: ModelFinish
    usage: Usage | None = None


type Chunk = TextChunk | SilentChunk | EndChunk


class ModelFailedError(Exception):
    """The model did not answer.

    Attributes:
        reason: as members of the channel see it.
        retryable: the same request may fare better.
        retry_after: seconds the provider asks to wait; None where it does not say.
        refused: the provider turned the request away before it worked on it: nothing is paid.
    """

    def __init__(
        self,
        reason: FailureReason,
        *,
        retryable: bool,
        retry_after: float | None = None,
        refused: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.retry_after = retry_after
        self.refused = refused


class IModel(Protocol):
    """Asks a model once, without tools and without retries."""

    def stream(self, prompt: Prompt) -> AsyncGenerator[Chunk]:
        """The answer as it comes; its last chunk is an EndChunk. Closing it hangs up.

        Raises:
            ModelFailedError: anywhere in the stream.
        """
        ...

    async def aclose(self) -> None:
        """Closes what is kept open between two requests."""
        ...
