"""Finishes what the deletion of a message began."""

from typing import ClassVar

from commons.dal import IRepository
from commons.records.timer import TimerKind, TimerRecord
from commons.services.base import BaseService
from commons.services.generations import GenerationsService
from commons.services.tool_redaction import ToolRedactionService


class DeletedMessagesService(BaseService):
    """A kind of timer. Its subject is `channel#question#generation`, or no generation: all of them."""

    kind: ClassVar[TimerKind] = "calls.empty"

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        generations: GenerationsService,
        tools: ToolRedactionService,
    ) -> None:
        super().__init__(repository)
        self._generations = generations
        self._tools = tools

    def handle(self, timer: TimerRecord) -> None:
        channel_id, question_seq, generation = timer.subject.split("#")
        if not generation:
            self._generations.cancel_replies_to(channel_id, int(question_seq))
        self._tools.empty(channel_id, int(question_seq), int(generation) if generation else None)
