"""Whose questions wait apart: those of a channel that has many replies to be written."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from commons import keys
from commons.dal import Compare, IRepository, Query, Table
from commons.errors import UnavailableError
from commons.observability import log
from commons.records.base import StoredModel
from commons.schemas.generation import GenerationRequest
from commons.services.base import BaseService

PLACES: Final = 10
"""Of one channel beside everybody's questions: what one worker writes at once. Where each has a worker
of its own, the places are half of the workers at most."""


class _OpenReply(StoredModel):
    question_seq: int
    generation: int


@dataclass(frozen=True, slots=True)
class Crowd:
    """A channel's replies that are to be written, as far as its places go.

    Attributes:
        first: question and generation of the first of them, by question; one more than places.
    """

    places: int
    first: Sequence[tuple[int, int]]

    def keeps(self, request: GenerationRequest) -> bool:
        """Whether it waits apart, because as many others as there are places go before it.

        A first reply goes behind those to questions that were asked before, also where people have
        decided about its calls. One that is asked for anew goes behind all: its question may be the
        oldest of a thousand.
        """
        mine = (request.question_seq, request.generation)
        is_first = request.generation == 1
        before = [each for each in self.first if each < mine or (each != mine and not is_first)]
        return len(before) >= self.places


class CrowdingService(BaseService):
    """Keeps one channel's thousand questions from standing before everybody's (docs/adr/0061).

    Args:
        workers: of everybody's questions, at once.
    """

    def __init__(self, repository: IRepository | None = None, *, workers: int) -> None:
        super().__init__(repository)
        self._places = max(1, min(PLACES, workers // 2))

    def of_channel(self, channel_id: str) -> Crowd:
        """Read once the replies that are asked about are open.

        A reply that waits for people takes no worker, so it is not counted. What storage does not
        say holds up no question: it waits apart then.
        """
        query = Query(
            table=Table.CHANNELS,
            partition=keys.open_generations_partition(channel_id),
            # Some that wait for people are read past within the page.
            limit=2 * (self._places + 1),
            consistent=True,
            where=Compare("status", "<>", "waiting"),
            attributes=("question_seq", "generation"),
        )
        try:
            items = list(islice(self.repository.iterate(query), self._places + 1))
        except UnavailableError as error:
            log.warning("crowd not read", error=type(error).__name__)
            return Crowd(places=0, first=())
        replies = [_OpenReply.model_validate(item) for item in items]
        return Crowd(self._places, [(each.question_seq, each.generation) for each in replies])
