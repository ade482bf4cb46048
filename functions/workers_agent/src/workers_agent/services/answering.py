"""From a request off the queue to the reply that it asks for."""

import asyncio

from commons.observability import log
from commons.realtime.broadcaster import IBroadcaster
from commons.schemas.generation import GenerationRequest
from commons.services.base import BaseService
from workers_agent.model import IModel
from workers_agent.services.deltas import DeltaBroadcast, IAudience
from workers_agent.services.reply import Collaborators, Reply


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

    async def answer(self, request: GenerationRequest, *, share: int = 1) -> None:
        """Brings the generation to its end; nothing to do where none is open.

        Args:
            request: which reply.
            share: how many replies this worker writes at once.

        Raises:
            LeaseHeldError: another worker is at it.
            GenerationLostError: another worker has taken it over.
            UnavailableError: storage failed; the claim is given back.
        """
        claim = await asyncio.to_thread(self._collaborators.claims.claim, request)
        if claim is None:
            log.info("generation has ended before")
            return
        deltas = DeltaBroadcast(
            request,
            self._audience,
            self._broadcaster,
            pace=self._collaborators.pace,
            first_index=claim.first_index,
            replaces=not claim.is_first,
            share=share,
        )
        await Reply(claim, self._collaborators, deltas).run()
