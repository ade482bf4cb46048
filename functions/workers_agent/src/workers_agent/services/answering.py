"""One question, from the queue to the event that ends it."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from commons.dal import IRepository
from commons.dynamodb.exceptions import RepositoryError
from commons.errors import ChannelNotFoundError
from commons.observability import log, metrics
from commons.realtime.broadcaster import IBroadcaster
from commons.schemas.event import FailureReason, FinishReason, Usage
from commons.schemas.generation import GenerationRequest
from commons.services.base import BaseService
from commons.services.event_log import EventLogService
from commons.services.membership import MembershipService
from workers_agent.model import IModel, ModelFailedError, Prompt
from workers_agent.pace import Pace
from workers_agent.services.budgets import BudgetsService
from workers_agent.services.context import ContextService, QuestionDeletedError, estimate_tokens
from workers_agent.services.deltas import DeltaBroadcast, IAudience
from workers_agent.services.leases import Claim, LeaseLostError, LeasesService
from workers_agent.services.replies import RepliesService
from workers_agent.services.writing import AnswerWriter, Written

MAX_CLAIMS: Final = 3
"""A reply that has cost so many workers their life, or met so many errors, is closed as failed."""


class _Prompts:
    """The prompt of each attempt, built anew: what was deleted meanwhile is not said again.

    Attributes:
        last: None before the first attempt.
    """

    def __init__(self, build: Callable[[], Prompt]) -> None:
        self._build = build
        self.last: Prompt | None = None

    async def next(self) -> Prompt:
        self.last = await asyncio.to_thread(self._build)
        return self.last


class AnsweringService(BaseService):
    """Answers one request at a time for each task that calls it."""

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        model: IModel,
        broadcaster: IBroadcaster,
        audience: IAudience,
        leases: LeasesService,
        context: ContextService,
        budgets: BudgetsService,
        pace: Pace,
        event_log: EventLogService | None = None,
    ) -> None:
        super().__init__(repository)
        self._model = model
        self._broadcaster = broadcaster
        self._audience = audience
        self._leases = leases
        self._context = context
        self._budgets = budgets
        self._pace = pace
        self._event_log = event_log or EventLogService(self.repository)
        self._membership = MembershipService(self.repository)
        self._replies = RepliesService(self.repository, leases=leases, event_log=self._event_log)
        self._writer = AnswerWriter(model, pace=pace)

    async def aclose(self) -> None:
        await self._model.aclose()

    async def answer(self, request: GenerationRequest, *, share: int = 1) -> None:
        """Brings the generation to its end; nothing to do where it has one.

        Args:
            request: which reply.
            share: how many replies this worker writes at once.

        Raises:
            LeaseHeldError: another worker is at it.
            LeaseLostError: another worker has taken it over.
            MessageNotFoundError: there is no such question.
            RepositoryError: storage failed; the lease is given back.
        """
        claim = await asyncio.to_thread(self._leases.claim, request)
        if claim is None:
            log.info("generation has ended before")
            return
        try:
            await self._answer_claimed(claim, share)
        except ChannelNotFoundError:
            await asyncio.to_thread(self._leases.abandon, claim)
            log.info("channel is gone")
        except LeaseLostError:
            raise
        except Exception:
            await self._give_back(claim)
            raise

    async def _answer_claimed(self, claim: Claim, share: int) -> None:
        request = claim.request
        question = await asyncio.to_thread(
            self._event_log.get_message, request.channel_id, request.question_seq
        )
        channel = await asyncio.to_thread(self._membership.find_channel, request.channel_id)
        if channel is None:
            raise ChannelNotFoundError
        if question.data.redacted or await asyncio.to_thread(self._leases.observe, claim):
            await self._end_cancelled(claim)
            return
        if claim.fence > MAX_CLAIMS:
            await self._fail(claim, "model_error")
            return
        asker = claim.row.requested_by or question.sender.id
        if await asyncio.to_thread(self._budgets.is_spent, request.channel_id, asker):
            await self._fail(claim, "budget")
            return
        prompts = _Prompts(
            partial(self._context.prompt, request.channel_id, request.question_seq, channel.agent)
        )
        await self._write(claim, prompts, asker, share)

    async def _end_cancelled(self, claim: Claim) -> None:
        """Ends in what a dead worker laid down; who heard more from it is told so first."""
        if claim.is_takeover:
            deltas = self._deltas(claim)
            deltas.add(claim.row.text)
            deltas.start()
            try:
                await deltas.finish(self._pace.last_deltas)
            finally:
                await deltas.stop()
        await self._reply(claim, claim.row.text, "cancelled", None)

    def _deltas(self, claim: Claim, *, share: int = 1) -> DeltaBroadcast:
        return DeltaBroadcast(
            claim.request,
            self._audience,
            self._broadcaster,
            pace=self._pace,
            first_index=claim.first_index,
            replaces=claim.is_takeover,
            share=share,
        )

    async def _write(self, claim: Claim, prompts: _Prompts, asker: str, share: int) -> None:
        deltas = self._deltas(claim, share=share)
        started = asyncio.get_running_loop().time()
        deltas.start()
        usage: Usage | None = None
        try:
            written = await self._stream(claim, prompts, deltas)
            usage = written.usage
            await deltas.finish(self._pace.last_deltas)
            await self._reply(claim, deltas.text, written.finish_reason, usage)
        except ModelFailedError as failure:
            await self._fail(claim, failure.reason)
        finally:
            await deltas.stop()
            await self._charge(claim, asker, prompts.last, deltas.text, usage)
        _measure(started, deltas)

    async def _stream(self, claim: Claim, prompts: _Prompts, deltas: DeltaBroadcast) -> Written:
        """Writes until the model has ended, or until somebody has cancelled."""
        writing = asyncio.create_task(self._writer.write(prompts.next, deltas))
        watching = asyncio.create_task(self._watch(claim, deltas))
        try:
            await asyncio.wait({writing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                return writing.result()
            watching.result()
            return Written("cancelled", None)
        except QuestionDeletedError:
            return Written("cancelled", None)
        finally:
            writing.cancel()
            watching.cancel()
            await asyncio.gather(writing, watching, return_exceptions=True)

    async def _watch(self, claim: Claim, deltas: DeltaBroadcast) -> None:
        """Keeps the lease and the audience; returns when the reply is cancelled.

        Raises:
            LeaseLostError: the claim holds no more, or storage did not say for a whole lease.
        """
        loop = asyncio.get_running_loop()
        beaten = heard = loop.time()
        while True:
            try:
                await asyncio.sleep(self._pace.look)
                await deltas.refresh()
                if await asyncio.to_thread(self._leases.observe, claim):
                    return
                if loop.time() - beaten >= self._pace.heartbeat:
                    await asyncio.to_thread(
                        self._leases.beat, claim, text=deltas.text, next_index=deltas.next_index
                    )
                    beaten = loop.time()
                heard = loop.time()
            except RepositoryError as error:
                log.warning("lease not looked after", error=type(error).__name__)
                if loop.time() - heard >= self._pace.lease:
                    raise LeaseLostError from None

    async def _reply(
        self, claim: Claim, text: str, finish_reason: FinishReason, usage: Usage | None
    ) -> None:
        await asyncio.to_thread(
            self._replies.reply, claim, text=text, finish_reason=finish_reason, usage=usage
        )
        metrics.add_metric(name="AgentReply", unit="Count", value=1)
        log.info("replied", finish_reason=finish_reason, claims=claim.fence)

    async def _fail(self, claim: Claim, reason: FailureReason) -> None:
        await asyncio.to_thread(self._replies.fail, claim, reason)
        metrics.add_metric(name="AgentFailed", unit="Count", value=1)
        log.warning("no reply", reason=reason, claims=claim.fence)

    async def _charge(
        self, claim: Claim, asker: str, prompt: Prompt | None, text: str, usage: Usage | None
    ) -> None:
        """By what the provider counted, else by an estimate; a refusal costs nothing."""
        if usage is not None:
            tokens = usage.input_tokens + usage.output_tokens
        elif text and prompt is not None:
            tokens = estimate_tokens(text) + sum(
                estimate_tokens(turn.text) for turn in prompt.turns
            )
        else:
            return
        try:
            await asyncio.to_thread(self._budgets.charge, claim.request.channel_id, asker, tokens)
        except RepositoryError as error:
            log.error("tokens not charged", tokens=tokens, error=type(error).__name__)

    async def _give_back(self, claim: Claim) -> None:
        try:
            await asyncio.to_thread(self._leases.release, claim)
        except (LeaseLostError, RepositoryError) as error:
            log.warning("lease not given back", error=type(error).__name__)


def _measure(started: float, deltas: DeltaBroadcast) -> None:
    """Both from the moment when the question was claimed."""
    if deltas.first_told is not None:
        metrics.add_metric(
            name="TimeToFirstDelta",
            unit="Milliseconds",
            value=(deltas.first_told - started) * 1000,
        )
    latency = asyncio.get_running_loop().time() - started
    metrics.add_metric(name="AgentLatency", unit="Milliseconds", value=latency * 1000)
