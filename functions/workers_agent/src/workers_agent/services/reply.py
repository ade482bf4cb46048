"""One reply: claimed, written, told, paid for, ended."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Final

from commons.dynamodb.exceptions import StorageUnavailableError
from commons.errors import ChannelNotFoundError, UnavailableError
from commons.observability import log, metrics
from commons.records.generation import FinishedText, OpenGeneration
from commons.schemas.event import Event, FailureReason, MessageCreated
from commons.services.generation_endings import Ending
from commons.services.generation_hold import GenerationLostError
from commons.services.spend import BudgetSpentError, owed
from commons.services.tool_calls import QuestionGoneError
from workers_agent.model import ModelFailedError
from workers_agent.services.agent_loop import AgentLoop
from workers_agent.services.attempts import Attempts
from workers_agent.services.claims import Claim
from workers_agent.services.collaborators import Collaborators
from workers_agent.services.context import QuestionDeletedError
from workers_agent.services.deltas import DeltaBroadcast
from workers_agent.services.patience import patiently
from workers_agent.services.step_calls import ReplyCancelledError

MAX_FAILED_CLAIMS: Final = 3
"""A reply that so many workers died with, or met an error of ours with, is closed as failed."""


class Reply:
    """A claimed reply on its way to its one end.

    Args:
        claim: the right to write it.
        by: what it is written with.
        deltas: how those who listen hear of it: hints, which never change what becomes of it.
    """

    def __init__(self, claim: Claim, by: Collaborators, deltas: DeltaBroadcast) -> None:
        self._claim = claim
        self._by = by
        self._deltas = deltas
        self._attempts = Attempts(claim, by, deltas)
        self._began = 0.0

    @property
    def _row(self) -> OpenGeneration:
        """As this worker has laid it down."""
        return self._attempts.row

    async def run(self) -> bool:
        """Brings the reply to its end; False: people have to decide before it goes on.

        Raises:
            GenerationLostError: another worker has taken it over, or has ended it.
            UnavailableError: storage failed for longer than it is worth waiting here; the claim is
                given back.
        """
        self._began = asyncio.get_running_loop().time()
        try:
            return await self._run()
        except ChannelNotFoundError:
            log.info("channel is gone")
            await asyncio.to_thread(self._by.endings.forget, self._row, self._attempts.cost())
            return True
        except GenerationLostError:
            raise
        except UnavailableError:
            await self._give_back(failed=False)
            raise
        except Exception:
            await self._give_back(failed=True)
            raise

    async def _run(self) -> bool:
        finished = self._row.finished
        if finished is not None:
            await self._append(
                Ending(
                    text=self._row.text,
                    finish_reason=finished.finish_reason,
                    usage=self._row.usage,
                    cost=owed(self._row),
                )
            )
            return True
        try:
            ending = await self._early_end() or await self._written()
            if ending is None:
                await self._wait()
                return False
            await self._end(ending)
        finally:
            await self._deltas.stop()
        self._measure()
        return True

    async def _early_end(self) -> Ending | None:
        """Where no model is to be asked."""
        row = self._row
        if await asyncio.to_thread(self._by.endings.is_unwanted, row):
            self._deltas.add(row.text.removeprefix(row.text_of_steps))
            return self._cancelled()
        if not row.is_worth_answering(self._by.clock()):
            return self._failure("timeout")
        if row.failed_claims >= MAX_FAILED_CLAIMS:
            return self._failure("model_error")
        return None

    def _failure(self, reason: FailureReason) -> Ending:
        return Ending(text=self._deltas.text, failure=reason, cost=self._attempts.cost())

    async def _written(self) -> FinishedText | Ending | None:
        """Writes until the model has ended, or until there is something to stop or to wait for."""
        self._deltas.start()
        writing = asyncio.create_task(AgentLoop(self._attempts, self._by, self._deltas).run())
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({writing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                watching.result()
                self._deltas.hold()
                await self._stopped(writing)
                return self._cancelled()
            return writing.result()
        except ModelFailedError as failure:
            return self._failure(failure.reason)
        except BudgetSpentError:
            return self._failure("budget")
        except (QuestionDeletedError, QuestionGoneError, ReplyCancelledError):
            return self._cancelled()
        finally:
            writing.cancel()
            watching.cancel()
            await asyncio.gather(writing, watching, return_exceptions=True)

    async def _stopped(self, writing: asyncio.Task[FinishedText | None]) -> None:
        """Waits until nothing is under way that the reply's end has to know of.

        Raises:
            UnavailableError: nobody knows whether tokens were set aside; the row does.
        """
        writing.cancel()
        (outcome,) = await asyncio.gather(writing, return_exceptions=True)
        if isinstance(outcome, UnavailableError):
            raise outcome

    def _cancelled(self) -> Ending:
        self._deltas.hold()
        return Ending(
            text=self._deltas.text,
            finish_reason="cancelled",
            usage=self._row.usage,
            cost=self._attempts.cost(),
        )

    async def _wait(self) -> None:
        """Holds neither a worker nor a lease until people have decided."""
        await self._deltas.finish(self._by.pace.last_deltas)
        waiting = partial(self._by.claims.wait, self._claim, next_index=self._deltas.next_index)
        await patiently(waiting, seconds=self._by.pace.patience)
        log.info("waits for approval", step=self._row.step_count)

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

    async def _end(self, finished: FinishedText | Ending) -> None:
        """Appends, then tells the rest where there was something to stop; else the other way."""
        if isinstance(finished, FinishedText):
            ending = await self._lay_down(finished)
            await self._append(ending)
            return
        event = await self._append(finished)
        if self._is_told_of(event):
            self._deltas.start()
            await self._deltas.finish(self._by.pace.last_deltas)

    async def _lay_down(self, finished: FinishedText) -> Ending:
        """The row says from here on what the last request cost."""
        row = self._row.model_copy(update={"finished": finished, "text": self._deltas.text})
        ending = Ending(
            text=row.text,
            finish_reason=finished.finish_reason,
            usage=row.usage,
            cost=self._attempts.answered(finished.usage),
        )
        keeping = partial(self._by.claims.lay_down, self._claim, text=row.text, finished=finished)
        await asyncio.gather(
            patiently(keeping, seconds=self._by.pace.patience),
            self._deltas.finish(self._by.pace.last_deltas),
        )
        self._attempts.is_laid_down(row)
        return ending

    def _is_told_of(self, end: Event) -> bool:
        """Somebody may have heard another text than the reply ends in.

        Of a deleted question nothing is told any more: its reply ends without the text that is there.
        """
        text = self._deltas.text
        if isinstance(end, MessageCreated) and end.data.text != text:
            return False
        return bool(text) or not self._claim.is_first

    async def _append(self, ending: Ending) -> Event:
        ending_it = partial(self._by.endings.end, self._row, ending)
        async with self._by.turns.of(self._row.channel_id):
            event = await patiently(ending_it, seconds=self._by.pace.patience)
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
        return event

    async def _give_back(self, *, failed: bool) -> None:
        with suppress(GenerationLostError):
            try:
                unsettled = await self._attempts.cost_to_settle()
                await asyncio.to_thread(
                    self._by.claims.release, self._claim, unsettled=unsettled, failed=failed
                )
            except StorageUnavailableError as error:
                # The lease runs out by itself.
                log.warning("claim not given back", error=type(error).__name__)

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
