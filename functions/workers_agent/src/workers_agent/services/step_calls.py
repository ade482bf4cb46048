"""The calls of a step: made side by side, each once, whoever died with them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from commons.dynamodb.exceptions import StorageUnavailableError
from commons.errors import ChannelNotFoundError
from commons.observability import log
from commons.records.generation import OpenGeneration
from commons.records.tool import ToolCallRecord
from commons.schemas.event import CallOutcome, Event
from commons.services.generation_hold import GenerationLostError
from commons.services.tool_calls import CallNotAllowedError, Refusal
from workers_agent.schemas import ToolAnswer
from workers_agent.services.collaborators import Collaborators
from workers_agent.services.patience import patiently, to_its_end
from workers_agent.services.transcript import NO_ANSWER, NOT_MADE
from workers_agent.tool_function import CallUnknownError

LAST_SECONDS: Final = 0.5
"""How long a call that runs is waited for once its reply is cancelled."""

MAX_TRIES: Final = 2
"""Of a call whose answer was lost, where a second one does no harm."""

_REFUSALS: Final[dict[Refusal, str]] = {
    "right": "Who approved this call may not do so any more. It was not made.",
    "tool": "This channel does not allow the tool any more. The call was not made.",
}


class ReplyCancelledError(Exception):
    """Nobody waits for the reply any more."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What a call came to; `text` is what the model and the members are told of it."""

    outcome: CallOutcome
    text: str | None = None
    truncated: bool = False


class StepCalls:
    """Makes what may be made of a step's calls, and lays down what came of each.

    Args:
        row: the reply, held by this worker; its last step is meant.
        by: what the reply is written with.
    """

    def __init__(self, row: OpenGeneration, by: Collaborators) -> None:
        self._row = row
        self._by = by

    async def make(self) -> bool:
        """Makes those that are approved; True where people have yet to decide about others.

        Raises:
            ReplyCancelledError: nobody waits for them.
            GenerationLostError: somebody else holds the reply, or has ended it.
            QuestionGoneError: the question was deleted.
            ChannelNotFoundError: the channel was deleted.
        """
        index = self._row.step_count - 1
        calls = await self._patiently(partial(self._by.calls.announce, self._row, index))
        outcomes = await asyncio.gather(
            *(
                self._bring_to_its_end(call)
                for call in calls
                if not call.is_over and not call.is_pending
            ),
            # One call's trouble must not make the others' fate unknown.
            return_exceptions=True,
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return any(call.is_pending for call in calls)

    async def _bring_to_its_end(self, call: ToolCallRecord) -> None:
        if call.status == "running" and not call.is_repeatable:
            # A worker died with it.
            await self._lay_down(call, _lost(call))
            return
        try:
            started = await self._patiently(partial(self._by.calls.start, self._row, call))
        except CallNotAllowedError as refusal:
            if refusal.reason == "cancelled":
                raise ReplyCancelledError from None
            log.info("call not made", reason=refusal.reason, extra=_named(call))
            await self._lay_down(call, Fate("error", _REFUSALS.get(refusal.reason, NOT_MADE)))
            return
        except asyncio.CancelledError:
            if call.status == "approved":
                # It may be in hand by now, but nobody has made it.
                await self._leave(call, Fate("error", NOT_MADE))
            raise
        await self._make(started)

    async def _make(self, call: ToolCallRecord) -> None:
        for attempt in range(1, MAX_TRIES + 1):
            try:
                answer = await self._answer(call)
            except CallUnknownError:
                log.warning("call lost", attempt=attempt, extra=_named(call))
                if not call.is_repeatable:
                    break
            else:
                await self._lay_down(call, _told(answer))
                return
        await self._lay_down(call, _lost(call))

    async def _answer(self, call: ToolCallRecord) -> ToolAnswer:
        calling = asyncio.ensure_future(self._by.tools.call(call))
        try:
            return await asyncio.shield(calling)
        except asyncio.CancelledError:
            # It cannot be stopped: what became of it is laid down, what comes later is nothing.
            await asyncio.wait([calling], timeout=LAST_SECONDS)
            calling.add_done_callback(_take_note)
            is_known = calling.done() and calling.exception() is None
            await self._leave(call, _told(calling.result()) if is_known else _lost(call))
            raise

    async def _leave(self, call: ToolCallRecord, fate: Fate) -> None:
        """Lays down what became of a call whose reply ends; what fails is left to that end."""
        log.info("call left", outcome=fate.outcome, extra=_named(call))
        try:
            await to_its_end(self._finishing(call, fate))
        except (GenerationLostError, ChannelNotFoundError, StorageUnavailableError) as error:
            log.warning("call left open", error=type(error).__name__, extra=_named(call))

    async def _lay_down(self, call: ToolCallRecord, fate: Fate) -> None:
        log.info("call finished", outcome=fate.outcome, extra=_named(call))
        await self._patiently(self._finishing(call, fate))

    def _finishing(self, call: ToolCallRecord, fate: Fate) -> Callable[[], Event | None]:
        return partial(
            self._by.calls.finish,
            self._row,
            call,
            fate.outcome,
            fate.text,
            truncated=fate.truncated,
        )

    async def _patiently[Answer](self, call: Callable[[], Answer]) -> Answer:
        return await patiently(call, seconds=self._by.pace.patience)


def _named(call: ToolCallRecord) -> dict[str, object]:
    """By OpenTelemetry's attributes for generative AI; never what it is asked or answers."""
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.tool,
        "gen_ai.tool.call.id": call.call_id,
    }


def _told(answer: ToolAnswer) -> Fate:
    return Fate(answer.outcome, answer.text, answer.truncated)


def _lost(call: ToolCallRecord) -> Fate:
    """Whether it was made nobody knows; of what only reads nobody has to."""
    return Fate("error", NO_ANSWER) if call.read_only else Fate("unknown")


def _take_note(calling: "asyncio.Future[ToolAnswer]") -> None:
    if not calling.cancelled() and calling.exception() is not None:
        log.info("late end of a call that was left")
