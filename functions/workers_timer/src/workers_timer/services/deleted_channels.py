"""Clears what the deletion of a channel has left."""

from typing import ClassVar

from commons.dal import IRepository
from commons.records.timer import TimerKind, TimerRecord
from commons.services.base import BaseService
from commons.services.closing import ClosingService


class DeletedChannelsService(BaseService):
    """A kind of timer. Its subject is the channel."""

    kind: ClassVar[TimerKind] = "channel.clear"

    def __init__(self, repository: IRepository | None = None, *, closing: ClosingService) -> None:
        super().__init__(repository)
        self._closing = closing

    def handle(self, timer: TimerRecord) -> None:
        self._closing.clear(timer.subject)
