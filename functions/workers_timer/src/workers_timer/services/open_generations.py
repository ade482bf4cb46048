"""Looks after replies that nobody writes."""

from collections.abc import Callable
from typing import ClassVar, Final

from commons.clock import epoch_milliseconds
from commons.dal import IRepository
from commons.errors import ChannelNotFoundError
from commons.observability import count_for, log
from commons.records.generation import OpenGeneration
from commons.records.timer import TimerKind, TimerRecord
from commons.schemas.generation import GenerationRequest
from commons.services.base import BaseService
from commons.services.crowding import CrowdingService
from commons.services.generation_endings import (
    Ending,
    GenerationEndingsService,
    GenerationLostError,
)
from commons.services.generations import GenerationsService
from commons.services.spend import owed
from commons.services.tool_call_rows import ToolCallRows
from workers_timer.queue import IAgentQueue

WAKES_WHILE_PEOPLE_DECIDE: Final = 2
"""It is looked at every two minutes then: a decision wakes a worker itself, unless that is lost."""


class OpenGenerationsService(BaseService):
    """A kind of timer. Its subject is `channel#question#generation`.

    A queue message that was lost, or whose worker died with it, is sent anew; what has been open
    for an hour is ended; what waits for people is left alone. Whatever is still open is looked at
    again, the later the oftener it was woken in vain.

    Args:
        queue: wakes a worker.
        clock: epoch milliseconds.
    """

    kind: ClassVar[TimerKind] = "generation.watch"

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        generations: GenerationsService,
        endings: GenerationEndingsService,
        crowding: CrowdingService,
        queue: IAgentQueue,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository)
        self._generations = generations
        self._endings = endings
        self._crowding = crowding
        self._queue = queue
        self._calls = ToolCallRows(self.repository)
        self._clock = clock

    def handle(self, timer: TimerRecord) -> None:
        channel_id, question_seq, generation = timer.subject.split("#")
        row = self._generations.find(channel_id, int(question_seq), int(generation))
        if row is None:
            return
        now = self._clock()
        wakes = 0
        is_written = row.is_written(now)
        if not is_written and not row.is_worth_answering(now):
            if self._has_ended(row):
                return
        elif not is_written:
            if self._waits(row):
                wakes = min(timer.wakes + 1, WAKES_WHILE_PEOPLE_DECIDE)
            else:
                wakes = timer.wakes + 1
                self._wake(row)
        again = TimerRecord.of_generation(row, now=now // 1_000, wakes=wakes)
        self.repository.transact([again.write()])

    def _waits(self, row: OpenGeneration) -> bool:
        """Whether people have yet to decide, and somebody still waits for what comes then."""
        if row.status != "waiting" or not self._calls.waits(row):
            return False
        try:
            return not self._endings.is_unwanted(row)
        except GenerationLostError:
            # Somebody has it.
            return True
        except ChannelNotFoundError:
            return False

    def _wake(self, row: OpenGeneration) -> None:
        request = GenerationRequest(
            channel_id=row.channel_id,
            question_seq=row.question_seq,
            generation=row.generation,
            correlation_id=row.correlation_id,
        )
        crowd = self._crowding.of_channel(row.channel_id)
        self._queue.ask(request, is_crowded=crowd.keeps(request))
        log.info("worker woken", question_seq=row.question_seq, status=row.status)

    def _has_ended(self, row: OpenGeneration) -> bool:
        """Ends it; False where somebody holds it by now, who may die with it."""
        try:
            event = self._endings.end(row, _ending(row))
        except GenerationLostError:
            log.info("reply was taken or ended meanwhile", question_seq=row.question_seq)
            return False
        except ChannelNotFoundError:
            self._endings.forget(row, _ending(row).cost)
        else:
            count_for("workers_agent", name="AgentFailed")
            log.warning("reply ended by the timer", event_seq=event.seq)
        return True


def _ending(row: OpenGeneration) -> Ending:
    """What was finished is appended; what was not has timed out."""
    finished = row.finished
    if finished is None:
        return Ending(text=row.text, failure="timeout", cost=owed(row))
    return Ending(
        text=row.text,
        finish_reason=finished.finish_reason,
        usage=row.usage,
        cost=owed(row),
    )
