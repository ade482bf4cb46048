"""The requests of a reply to its model: what each is asked, and what it costs."""

import asyncio
from dataclasses import replace
from typing import Final

from commons.dynamodb.exceptions import StorageUnavailableError
from commons.errors import ChannelNotFoundError
from commons.records.generation import OpenGeneration
from commons.records.spend import NO_COST, Cost, Reservation
from commons.schemas.event import Usage
from commons.services.spend import cost_of_lost_attempt, estimated
from workers_agent.model import ModelFailedError, Prompt
from workers_agent.services.claims import Claim
from workers_agent.services.collaborators import Collaborators
from workers_agent.services.context import estimate_input
from workers_agent.services.deltas import DeltaBroadcast
from workers_agent.services.patience import to_its_end
from workers_agent.services.toolbox import Toolbox
from workers_agent.services.transcript import called_tools, transcript

type _Figures = tuple[Usage, int]
"""What the provider had counted when the reply's new text was so long."""

_NO_FIGURES: Final[_Figures] = Usage(model_id="", input_tokens=0, output_tokens=0), 0


class Attempts:
    """Prepares each attempt at the next request, and keeps account of all that are not settled.

    Args:
        claim: the right to write the reply.
        by: what the reply is written with.
        deltas: hold what the attempt that runs has written.
    """

    def __init__(self, claim: Claim, by: Collaborators, deltas: DeltaBroadcast) -> None:
        self._claim = claim
        self._by = by
        self._deltas = deltas
        self._prompt: Prompt | None = None
        self._figures = _NO_FIGURES
        self._count = 0 if claim.row.reservation is None else claim.row.reservation.attempt
        self._unsettled = claim.row.unsettled + _cost_of_a_dead_attempt(claim)
        self.row = claim.row
        self.toolbox = Toolbox([])

    @property
    def may_call(self) -> bool:
        """Whether calls that the next request asks for would be made."""
        bounds = self._by.bounds
        is_last = self.row.step_count + 1 >= bounds.requests
        return not is_last and self.calls_left > 0

    @property
    def calls_left(self) -> int:
        made = [call for step in self.row.steps for call in step.calls if call.call_id is not None]
        return self._by.bounds.calls - len(made)

    async def begin(self) -> Prompt:
        """The prompt of the next attempt, what it may cost set aside.

        Raises:
            BudgetSpentError: the day has not enough left; no model is asked.
            QuestionDeletedError: nobody asks any more.
            ChannelNotFoundError: the channel was deleted.
        """
        prompt = await asyncio.to_thread(self._build)
        self._count += 1
        reservation = self._by.spend.reservation(
            self.row.requested_by,
            prompt.model_id,
            input_tokens=estimate_input(prompt),
            max_tokens=prompt.max_tokens,
        ).model_copy(update={"attempt": self._count})
        async with self._by.turns.of(self.row.channel_id):
            await to_its_end(lambda: self._reserve(reservation))
        self._prompt, self._figures = prompt, _NO_FIGURES
        return prompt

    def counted(self, usage: Usage) -> None:
        """What the provider has counted of the attempt that runs, up to the text written so far."""
        self._figures = usage, len(self._deltas.new_text)

    def ended(self, failure: ModelFailedError) -> None:
        """An attempt that the provider turned away costs nothing, any other is paid."""
        if not failure.refused:
            self._unsettled += self._counted(failure.usage)
        self._prompt = None

    def answered(self, usage: Usage | None) -> Cost:
        """What is to be settled once the attempt that runs has come to its end."""
        return self._unsettled + self._counted(usage)

    def cost(self) -> Cost:
        """Of all attempts that are not settled, the one that runs included."""
        return self._unsettled + self._running()

    def is_laid_down(self, row: OpenGeneration) -> None:
        """The row says from here on what the attempt cost, or has settled it with a step."""
        self.row = row
        self._prompt = None
        if row.finished is None:
            self._unsettled = NO_COST

    async def cost_to_settle(self) -> Cost:
        """What the row does not say itself: a write whose answer was lost may stand.

        Raises:
            GenerationLostError: the claim holds no more.
        """
        try:
            row = await asyncio.to_thread(self._by.claims.current, self._claim)
        except StorageUnavailableError:
            # Giving back must not depend on a read: too much is counted rather than too little.
            return self.cost()
        if row.finished is not None:
            return self._unsettled
        return self.cost() if row.reservation == self.row.reservation else NO_COST

    def _build(self) -> Prompt:
        row = self.row
        channel = self._by.membership.find_channel(row.channel_id)
        if channel is None:
            raise ChannelNotFoundError
        agent = channel.agent
        acts = self._by.bounds.calls > 0 and self._by.bounds.requests > 1
        tools = self._by.catalogue.for_channel(agent) if acts else []
        self.toolbox = Toolbox(tools, called=called_tools(row.steps))
        prompt = self._by.context.prompt(
            row.channel_id, row.question_seq, agent, has_tools=bool(tools or row.steps)
        )
        calls = self._by.calls.of_generation(row) if row.steps else []
        return replace(
            prompt,
            tools=self.toolbox.specs(),
            steps=transcript(row.steps, calls, self.toolbox),
            may_call=self.may_call,
        )

    def _reserve(self, reservation: Reservation) -> None:
        old = self.row.reservation
        self._by.claims.reserve(self._claim, reservation, old=old, cost=self._unsettled)
        self.row = self.row.model_copy(update={"reservation": reservation})
        self._unsettled = NO_COST

    def _counted(self, usage: Usage | None) -> Cost:
        if usage is None:
            return self._running()
        return Cost(requests=1, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)

    def _running(self) -> Cost:
        """Of the attempt that runs, if one does: by the provider's figures, else by an estimate.

        A figure of 0 is none: some servers send it with every chunk until they know.
        """
        if self._prompt is None:
            return NO_COST
        known, length = self._figures
        length = length if known.output_tokens else 0
        rest = estimated(estimate_input(self._prompt), self._deltas.new_text[length:])
        return Cost(
            requests=1,
            input_tokens=known.input_tokens or rest.input_tokens,
            output_tokens=known.output_tokens + rest.output_tokens,
        )


def _cost_of_a_dead_attempt(claim: Claim) -> Cost:
    """A worker that died had asked a model, and what it had written was paid for."""
    is_settled = claim.row.finished is not None or not claim.is_takeover
    return NO_COST if is_settled else cost_of_lost_attempt(claim.row)
