"""Requests to the model with calls of tools between them (docs/adr/0047)."""

import asyncio
from functools import partial
from typing import Final

from commons.observability import log
from commons.records.generation import FinishedText, GenerationStep, StepCall
from commons.records.tool import BadArgumentsError, NewCall
from workers_agent.model import ModelFailedError, ToolCallChunk
from workers_agent.services.attempts import Attempts
from workers_agent.services.collaborators import Collaborators
from workers_agent.services.deltas import DeltaBroadcast
from workers_agent.services.patience import patiently
from workers_agent.services.step_calls import StepCalls
from workers_agent.services.writing import Written

NO_MORE_CALLS: Final = "No more tools can be called for this reply."
MAX_PROVIDERS_WORD: Final = 100
"""Of a call's id, and of a name that the model has made up."""


class AgentLoop:
    """Goes on where the row says that whoever held the reply before has stopped.

    Args:
        attempts: keeps the row as it is laid down.
        by: what the reply is written with.
        deltas: take the text.
    """

    def __init__(self, attempts: Attempts, by: Collaborators, deltas: DeltaBroadcast) -> None:
        self._attempts = attempts
        self._by = by
        self._deltas = deltas
        self._seconds_left = by.pace.total

    async def run(self) -> FinishedText | None:
        """How the model ended; None where people have to decide before the reply goes on.

        Raises:
            ModelFailedError: no attempt at a request was answered.
            BudgetSpentError: the day has not enough left for the next request.
            ReplyCancelledError: nobody waits for it any more.
            QuestionDeletedError, QuestionGoneError: nobody asks any more.
            GenerationLostError: somebody else holds the reply, or has ended it.
            ChannelNotFoundError: the channel was deleted.
        """
        while True:
            row = self._attempts.row
            if row.steps and await StepCalls(row, self._by).make():
                return None
            written = await self._ask()
            if not written.calls:
                return FinishedText(finish_reason=written.finish_reason, usage=written.usage)
            if not self._attempts.may_call:
                # It asks for more than the bounds allow: the reply ends in what there is.
                return FinishedText(finish_reason="length", usage=written.usage)
            await self._lay_down(written)

    async def _ask(self) -> Written:
        if self._seconds_left <= 0:
            raise ModelFailedError("timeout", retryable=False)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            written = await self._by.writer.write(
                self._attempts, self._deltas, seconds=self._seconds_left
            )
        finally:
            self._seconds_left -= loop.time() - began
        self._log(written)
        return written

    async def _lay_down(self, written: Written) -> None:
        """The step and its calls, with what the request cost: whoever comes next asks it not again."""
        row = self._attempts.row
        if row.reservation is None:
            raise AssertionError("a request is asked once it is paid for")
        calls: list[NewCall] = []
        asked: list[StepCall] = []
        for chunk in written.calls:
            try:
                calls.append(self._call(chunk, left=self._attempts.calls_left - len(calls)))
                error = None
            except BadArgumentsError as refusal:
                error = str(refusal)
            tool = self._attempts.toolbox.qualified_name(chunk.name)
            asked.append(
                StepCall(
                    provider_call_id=chunk.call_id[:MAX_PROVIDERS_WORD],
                    tool=tool if error is None else tool[:MAX_PROVIDERS_WORD],
                    error=error,
                )
            )
        step = GenerationStep(text=self._deltas.new_text, calls=asked, usage=written.usage)
        cost = self._attempts.answered(written.usage)
        requesting = partial(
            self._by.calls.request,
            row,
            step,
            calls,
            text=self._deltas.text,
            settling=self._by.spend.settling(row.channel_id, row.reservation, cost),
        )
        self._attempts.is_laid_down(await patiently(requesting, seconds=self._by.pace.patience))
        self._deltas.keep()

    def _call(self, chunk: ToolCallChunk, *, left: int) -> NewCall:
        if left <= 0:
            raise BadArgumentsError(NO_MORE_CALLS)
        return self._attempts.toolbox.call(chunk.name, chunk.arguments)

    def _log(self, written: Written) -> None:
        """By OpenTelemetry's attributes for generative AI."""
        reason = "tool_calls" if written.calls else written.finish_reason
        attributes: dict[str, object] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.response.finish_reasons": [reason],
        }
        if (usage := written.usage) is not None:
            attributes |= {
                "gen_ai.request.model": usage.model_id,
                "gen_ai.usage.input_tokens": usage.input_tokens,
                "gen_ai.usage.output_tokens": usage.output_tokens,
            }
        step = self._attempts.row.step_count
        log.info("model answered", step=step, calls=len(written.calls), extra=attributes)
