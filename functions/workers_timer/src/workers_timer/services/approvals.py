"""Ends the wait for decisions that nobody has made."""

from typing import ClassVar

from commons.dal import IRepository
from commons.records.timer import TimerKind, TimerRecord
from commons.services.base import BaseService
from commons.services.tool_decisions import ToolDecisionsService


class ApprovalsService(BaseService):
    """A kind of timer. Its subject is `channel#call`."""

    kind: ClassVar[TimerKind] = "approval.expire"

    def __init__(
        self, repository: IRepository | None = None, *, decisions: ToolDecisionsService
    ) -> None:
        super().__init__(repository)
        self._decisions = decisions

    def handle(self, timer: TimerRecord) -> None:
        channel_id, call_id = timer.subject.split("#")
        self._decisions.expire(channel_id, call_id)
