"""A batch of questions, side by side: a worker that waits for ten models costs what one costs."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Final

from commons.errors import UnavailableError
from commons.observability import log
from commons.schemas.generation import GenerationRequest
from commons.services.base import BaseService
from commons.services.generation_endings import GenerationLostError
from workers_agent.pace import Pace
from workers_agent.queue import IAgentQueue
from workers_agent.schemas import Delivery
from workers_agent.services.answering import AnsweringService
from workers_agent.services.at_hand import AtHand
from workers_agent.services.claims import LeaseHeldError

MAX_DELAY_SECONDS: Final = 60

_THREADS: Final = 48
"""Calls to storage and posts of ten replies at once; all of them wait rather than compute."""


class BatchService(BaseService):
    """Answers what a batch of the queue holds; one question's trouble is not the others'.

    It keeps one event loop for its life, because the pools of HTTP clients belong to theirs.
    """

    def __init__(self, answering: AnsweringService, queue: IAgentQueue, *, pace: Pace) -> None:
        super().__init__(answering.repository)
        self._answering = answering
        self._queue = queue
        self._pace = pace

    def answer(self, deliveries: Sequence[Delivery]) -> list[str]:
        """Answers them all.

        Returns:
            The ids of the messages that are to be handed over again.
        """
        if not deliveries:
            return []
        return self._runner.run(self._answer_all(deliveries))

    def close(self) -> None:
        """Gives back what a warm function keeps."""
        self._runner.run(self._answering.aclose())
        self._runner.close()

    @cached_property
    def _runner(self) -> asyncio.Runner:
        runner = asyncio.Runner()
        executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="agent")
        runner.get_loop().set_default_executor(executor)
        return runner

    async def _answer_all(self, deliveries: Sequence[Delivery]) -> list[str]:
        at_hand = AtHand(deliveries)
        hiding = asyncio.create_task(self._keep_hidden(at_hand))
        taking = asyncio.create_task(self._take_further(at_hand))
        try:
            outcomes = await asyncio.gather(
                *(self._answer_one(each, at_hand) for each in deliveries)
            )
            await taking
        finally:
            for task in (hiding, taking):
                task.cancel()
            await asyncio.gather(hiding, taking, return_exceptions=True)
        return [
            delivery.message_id
            for delivery, done in zip(deliveries, outcomes, strict=True)
            if not done
        ]

    async def _take_further(self, at_hand: AtHand) -> None:
        """Takes questions while others are written, and sees what it took to its end.

        A batch may hold one question, and models take long: nobody is to wait for a worker that
        only waits.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._pace.taking
        async with asyncio.TaskGroup() as further:
            while not await at_hand.is_idle_within(self._pace.take) and loop.time() < until:
                for delivery in await asyncio.to_thread(self._take, at_hand):
                    at_hand.add(delivery)
                    further.create_task(self._answer_one(delivery, at_hand))

    def _take(self, at_hand: AtHand) -> list[Delivery]:
        if at_hand.room < 1:
            return []
        return self._queue.take(at_hand.queue_name, at_hand.room, hidden_seconds=self._pace.hidden)

    async def _keep_hidden(self, at_hand: AtHand) -> None:
        """From receipt on, so that a dead worker's questions are seen again soon after."""
        while True:
            await asyncio.to_thread(self._queue.hide, at_hand.hidden, self._pace.hidden)
            await asyncio.sleep(self._pace.hidden / 3)

    async def _answer_one(self, delivery: Delivery, at_hand: AtHand) -> bool:
        """Whether its message is done with; if not, it is soon seen again.

        It is taken out at once. Lambda knows of the batch's own alone, and takes those out at the
        end, which may be minutes away.
        """
        try:
            is_done = await self._answer(delivery, share=lambda: at_hand.writing)
        finally:
            at_hand.end(delivery)
        if is_done:
            await asyncio.to_thread(self._queue.finish, delivery)
        return is_done

    async def _answer(self, delivery: Delivery, *, share: Callable[[], int]) -> bool:
        request = delivery.request
        if request is None:
            log.error("message is no request", message_id=delivery.message_id)
            return False
        # A task of its own: the keys are this question's alone.
        log.thread_safe_append_keys(
            correlation_id=request.correlation_id,
            channel_id=request.channel_id,
            question_seq=request.question_seq,
            generation=request.generation,
        )
        try:
            await self._answering.answer(request, share=share)
        except LeaseHeldError as held:
            # No failure: this message waits for the other worker's end, or for its death.
            return await self._put_back(delivery, request, int(held.seconds) + 2)
        except GenerationLostError:
            log.warning("claim lost")
        except UnavailableError as error:
            # No fault of the question: it comes back for as long as it is worth answering.
            log.warning("storage failed", error=type(error).__name__, tries=request.tries)
            delay = min(MAX_DELAY_SECONDS, 2**request.tries)
            again = request.model_copy(update={"tries": request.tries + 1})
            return await self._put_back(delivery, again, delay)
        except Exception as error:  # noqa: BLE001 - reported to the queue, which tries again
            log.error("question not answered", error=type(error).__name__)
            return False
        return True

    async def _put_back(self, delivery: Delivery, request: GenerationRequest, delay: int) -> bool:
        log.info("put back", seconds=delay)
        return await asyncio.to_thread(self._queue.put_back, delivery, request, delay_seconds=delay)
