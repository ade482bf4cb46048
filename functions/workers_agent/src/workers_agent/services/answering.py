"""From a request off the queue to the reply that it asks for."""

import asyncio
from collections.abc import Callable

from commons.observability import log
from commons.realtime.broadcaster import IBroadcaster
from commons.schemas.generation import GenerationRequest
from commons.services.base import BaseService
from workers_agent.model import IModel
from workers_agent.services.claims import Claim
from workers_agent.services.collaborators import Collaborators
from workers_agent.services.deltas import DeltaBroadcast, IAudience
from workers_agent.services.reply import Reply


class AnsweringService(BaseService):
    """Answers one request at a time for each task that calls it."""

    def __init__(
        self,
        collaborators: Collaborators,
        *,
        model: IModel,
        broadcaster: IBroadcaster,
        audience: IAudience,
    ) -> None:
        super().__init__(collaborators.claims.repository)
        self._collaborators = collaborators
        self._model = model
        self._broadcaster = broadcaster
        self._audience = audience

    async def aclose(self) -> None:
        await self._model.aclose()

    async def answer(
        self, request: GenerationRequest, *, share: Callable[[], int] = lambda: 1
    ) -> None:
        """Brings the generation to its end, or to where it waits for people.

        Args:
            request: which reply.
            share: says how many replies this worker writes at once.

        Raises:
            LeaseHeldError: another worker is at it.
            GenerationLostError: another worker has taken it over.
            UnavailableError: storage failed; the claim is given back.
        """
        while True:
            claim = await asyncio.to_thread(self._collaborators.claims.claim, request)
            if claim is None:
                log.info("nothing to write: the reply has ended, or waits for people")
                return
            if await self._write(claim, request, share=share):
                return
            # Who decided in the meantime may have woken a worker that found the reply held.

    async def _write(
        self, claim: Claim, request: GenerationRequest, *, share: Callable[[], int]
    ) -> bool:
        deltas = DeltaBroadcast(
            request,
            self._audience,
            self._broadcaster,
            pace=self._collaborators.pace,
            first_index=claim.first_index,
            replaces=not claim.is_first,
            text=claim.row.text_of_steps,
            share=share,
        )
        return await Reply(claim, self._collaborators, deltas).run()
