"""One reply: claimed, written, told, paid for, ended."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from commons.dynamodb.exceptions import StorageUnavailableError
from commons.errors import ChannelNotFoundError, UnavailableError
from commons.observability import log, metrics
from commons.records.channel import ChannelRecord
from commons.records.generation import WORTH_ANSWERING_MILLISECONDS
from commons.records.spend import NO_COST, Cost, Reservation
from commons.schemas.event import FailureReason, Usage
from commons.services.event_log import EventLogService
from commons.services.generation_endings import (
    Ending,
    GenerationEndingsService,
    GenerationLostError,
)
from commons.services.membership import MembershipService
from commons.services.spend import (
    BudgetSpentError,
    SpendService,
    cost_of_lost_attempt,
    estimated,
    owed,
)
from workers_agent.model import ModelFailedError, Prompt
from workers_agent.pace import Pace
from workers_agent.services.claims import Claim, ClaimsService
from workers_agent.services.context import (
    ContextService,
    QuestionDeletedError,
    estimate_input,
)
from workers_agent.services.deltas import DeltaBroadcast
from workers_agent.services.writing import AnswerWriter, Written

MAX_FAILED_CLAIMS: Final = 3
"""A reply that so many workers died with, or met an error of ours with, is closed as failed."""

FIRST_PAUSE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborators:
    """What every reply of a worker is written with."""

    claims: ClaimsService
    endings: GenerationEndingsService
    event_log: EventLogService
    membership: MembershipService
    context: ContextService
    spend: SpendService
    writer: AnswerWriter
    pace: Pace
    clock: Callable[[], int]


class Reply:
    """A claimed reply on its way to its one end.

    The writer asks it for the prompt of each attempt, and tells it of each that failed.

    Args:
        claim: the right to write it.
        by: what it is written with.
        deltas: how those who listen hear of it: hints, which never change what becomes of it.
    """

    def __init__(self, claim: Claim, by: Collaborators, deltas: DeltaBroadcast) -> None:
        self._claim = claim
        self._by = by
        self._deltas = deltas
        self._row = claim.row
        self._channel: ChannelRecord | None = None
        self._prompt: Prompt | None = None
        self._reservation = self._row.reservation
        self._unsettled = self._row.unsettled + self._cost_of_a_dead_attempt()
        self._began = 0.0

    async def run(self) -> None:
        """Brings the reply to its end.

        Raises:
            GenerationLostError: another worker has taken it over, or has ended it.
            UnavailableError: storage failed for longer than it is worth waiting here; the claim is
                given back.
        """
        self._began = asyncio.get_running_loop().time()
        try:
            await self._run()
        except ChannelNotFoundError:
            log.info("channel is gone")
            await asyncio.to_thread(self._by.endings.forget, self._row, self._cost())
        except GenerationLostError:
            raise
        except UnavailableError:
            await self._give_back(failed=False)
            raise
        except Exception:
            await self._give_back(failed=True)
            raise

    async def _run(self) -> None:
        finished = self._row.finished
        if finished is not None:
            await self._append(
                Ending(
                    text=self._row.text,
                    finish_reason=finished.finish_reason,
                    usage=finished.usage,
                    cost=owed(self._row),
                )
            )
            return
        try:
            await self._end(await self._early_end() or await self._written())
        finally:
            await self._deltas.stop()
        self._measure()

    async def begin(self) -> Prompt:
        """The prompt of the next attempt, what it may cost set aside.

        Raises:
            BudgetSpentError: the day has not enough left; no model is asked.
            QuestionDeletedError: nobody asks any more.
        """
        if self._channel is None:
            raise AssertionError("a reply is begun in a channel")
        prompt = await asyncio.to_thread(
            self._by.context.prompt,
            self._row.channel_id,
            self._row.question_seq,
            self._channel.agent,
        )
        reservation = self._by.spend.reservation(
            self._row.requested_by,
            prompt.model_id,
            input_tokens=estimate_input(prompt),
            max_tokens=prompt.max_tokens,
        )
        if self._reservation is not None:
            attempt = self._reservation.attempt + 1
            reservation = reservation.model_copy(update={"attempt": attempt})
        reserving = asyncio.create_task(self._reserve(reservation))
        try:
            await asyncio.shield(reserving)
        except asyncio.CancelledError:
            # A call to storage cannot be stopped: what it sets aside has to be settled.
            await reserving
            raise
        self._prompt = prompt
        return prompt

    async def _reserve(self, reservation: Reservation) -> None:
        await asyncio.to_thread(
            self._by.claims.reserve,
            self._claim,
            reservation,
            old=self._reservation,
            cost=self._unsettled,
        )
        self._hold(reservation)

    def ended(self, failure: ModelFailedError) -> None:
        """An attempt that the provider turned away costs nothing, any other is paid."""
        if not failure.refused:
            self._unsettled += self._estimate()
        self._prompt = None

    def _hold(self, reservation: Reservation) -> None:
        self._reservation = reservation
        self._row = self._row.model_copy(update={"reservation": reservation})
        self._unsettled = NO_COST

    async def _early_end(self) -> Ending | None:
        """Where no model is to be asked."""
        row = self._row
        self._channel = await asyncio.to_thread(self._by.membership.find_channel, row.channel_id)
        if self._channel is None:
            raise ChannelNotFoundError
        if await asyncio.to_thread(self._by.endings.is_cancelled, row):
            self._deltas.add(row.text)
            return Ending(text=row.text, finish_reason="cancelled", cost=self._unsettled)
        if self._by.clock() - row.asked_at > WORTH_ANSWERING_MILLISECONDS:
            return self._failure("timeout")
        if row.failed_claims >= MAX_FAILED_CLAIMS:
            return self._failure("model_error")
        return None

    def _failure(self, reason: FailureReason) -> Ending:
        return Ending(text=self._deltas.text, failure=reason, cost=self._cost())

    async def _written(self) -> Ending:
        """Writes until the model has ended, or until there is something to stop."""
        self._deltas.start()
        writing = asyncio.create_task(self._by.writer.write(self, self._deltas))
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({writing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                watching.result()
                await self._stopped(writing)
                return self._cancelled()
            return self._of_model(writing.result())
        except ModelFailedError as failure:
            return self._failure(failure.reason)
        except BudgetSpentError:
            return self._failure("budget")
        except QuestionDeletedError:
            return self._cancelled()
        finally:
            writing.cancel()
            watching.cancel()
            await asyncio.gather(writing, watching, return_exceptions=True)

    async def _stopped(self, writing: asyncio.Task[Written]) -> None:
        """Waits until nothing is under way that the reply's end has to know of.

        Raises:
            UnavailableError: nobody knows whether tokens were set aside; the row does.
        """
        writing.cancel()
        (outcome,) = await asyncio.gather(writing, return_exceptions=True)
        if isinstance(outcome, UnavailableError):
            raise outcome

    def _of_model(self, written: Written) -> Ending:
        return Ending(
            text=self._deltas.text,
            finish_reason=written.finish_reason,
            usage=written.usage,
            cost=self._unsettled + self._counted(written.usage),
        )

    def _cancelled(self) -> Ending:
        return Ending(text=self._deltas.text, finish_reason="cancelled", cost=self._cost())

    async def _watch(self) -> None:
        """Keeps the claim; returns when the reply is cancelled.

        Trouble with storage ends no reply: the end is conditional on the claim anyway.

        Raises:
            GenerationLostError: the claim holds no more.
            ChannelNotFoundError: the channel is gone.
        """
        loop = asyncio.get_running_loop()
        beaten = loop.time()
        while True:
            await asyncio.sleep(self._by.pace.look)
            try:
                if await asyncio.to_thread(self._is_to_stop):
                    return
                if loop.time() - beaten >= self._by.pace.heartbeat:
                    beaten = loop.time()
                    await asyncio.to_thread(
                        self._by.claims.beat,
                        self._claim,
                        text=self._deltas.text,
                        next_index=self._deltas.next_index,
                    )
            except StorageUnavailableError as error:
                log.warning("claim not looked after", error=type(error).__name__)

    def _is_to_stop(self) -> bool:
        if self._by.membership.find_channel(self._row.channel_id) is None:
            raise ChannelNotFoundError
        return self._by.endings.is_cancelled(self._row)

    async def _end(self, ending: Ending) -> None:
        """Appends, then tells the rest where there was something to stop; else the other way."""
        is_of_model = ending.failure is None and ending.finish_reason != "cancelled"
        if is_of_model:
            keeping = partial(
                self._by.claims.lay_down,
                self._claim,
                text=ending.text,
                finish_reason=ending.finish_reason,
                usage=ending.usage,
            )
            await asyncio.gather(
                self._patiently(keeping), self._deltas.finish(self._by.pace.last_deltas)
            )
            # The row says from here on what this attempt cost.
            self._prompt = None
        await self._append(ending)
        if not is_of_model and self._is_told_of():
            self._deltas.start()
            await self._deltas.finish(self._by.pace.last_deltas)

    def _is_told_of(self) -> bool:
        """Somebody may have heard another text than the reply ends in."""
        return bool(self._deltas.text) or not self._claim.is_first

    async def _append(self, ending: Ending) -> None:
        event = await self._patiently(partial(self._by.endings.end, self._row, ending))
        if ending.failure is not None:
            metrics.add_metric(name="AgentFailed", unit="Count", value=1)
        else:
            metrics.add_metric(name="AgentReply", unit="Count", value=1)
        log.info(
            "ended",
            event_seq=event.seq,
            finish_reason=ending.finish_reason if ending.failure is None else None,
            failure=ending.failure,
            claims=self._row.fence,
        )

    async def _patiently[Answer](self, call: Callable[[], Answer]) -> Answer:
        """What was paid for waits for storage as long as this worker may."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._by.pace.patience
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await asyncio.to_thread(call)
            except StorageUnavailableError as error:
                if loop.time() + pause >= deadline:
                    raise
                log.warning("storage is waited for", error=type(error).__name__)
            await asyncio.sleep(pause)
            pause *= 2

    async def _give_back(self, *, failed: bool) -> None:
        with suppress(GenerationLostError):
            try:
                unsettled = await self._cost_to_settle()
                await asyncio.to_thread(
                    self._by.claims.release, self._claim, unsettled=unsettled, failed=failed
                )
            except StorageUnavailableError as error:
                # The lease runs out by itself.
                log.warning("claim not given back", error=type(error).__name__)

    async def _cost_to_settle(self) -> Cost:
        """Of attempts that the row does not say itself: a write whose answer was lost may stand."""
        try:
            row = await asyncio.to_thread(self._by.claims.current, self._claim)
        except StorageUnavailableError:
            # Giving back must not depend on a read: too much is counted rather than too little.
            return self._cost()
        if row.finished is not None:
            return self._unsettled
        return self._cost() if row.reservation == self._reservation else NO_COST

    def _cost(self) -> Cost:
        """Of all attempts that are not settled, the one that runs included."""
        return self._unsettled + self._estimate()

    def _counted(self, usage: Usage | None) -> Cost:
        if usage is None:
            return self._estimate()
        return Cost(requests=1, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)

    def _estimate(self) -> Cost:
        """Of the attempt that runs, if one does."""
        if self._prompt is None:
            return NO_COST
        return estimated(estimate_input(self._prompt), self._deltas.text)

    def _cost_of_a_dead_attempt(self) -> Cost:
        """A worker that died had asked a model, and what it had written was paid for."""
        is_settled = self._row.finished is not None or not self._claim.is_takeover
        return NO_COST if is_settled else cost_of_lost_attempt(self._row)

    def _measure(self) -> None:
        """Both from the moment when the question was claimed."""
        if self._deltas.first_told is not None:
            metrics.add_metric(
                name="TimeToFirstDelta",
                unit="Milliseconds",
                value=(self._deltas.first_told - self._began) * 1000,
            )
        latency = asyncio.get_running_loop().time() - self._began
        metrics.add_metric(name="AgentLatency", unit="Milliseconds", value=latency * 1000)
