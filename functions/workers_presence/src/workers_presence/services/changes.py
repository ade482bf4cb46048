"""Subscriptions that begin and end, and typing that could not be told yet, to checks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from commons.dal import IRepository
from commons.errors import UnavailableError
from commons.observability import log
from commons.schemas.lambda_events import StreamRecord
from commons.services.base import BaseService
from workers_presence.queue import IChecks
from workers_presence.records import read_changes
from workers_presence.schemas import Check
from workers_presence.services import typing
from workers_presence.services.told import ToldService

GRACE_SECONDS: Final = 5
"""Whoever subscribes again within this stays online (CONTRACT, section 3)."""

_AT_ONCE: Final = 16


class ChangesService(BaseService):
    """Queues a check of each user who may have come or gone."""

    def __init__(
        self, repository: IRepository | None = None, *, told: ToldService, queue: IChecks
    ) -> None:
        super().__init__(repository)
        self._told = told
        self._queue = queue
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="departure")

    def take(self, records: Sequence[StreamRecord]) -> list[str]:
        """Neither what a record holds nor storage that does not answer makes it raise.

        Returns:
            The sequence numbers of what the queue did not take.
        """
        changes = read_changes(records)
        if changes.unreadable:
            log.error("records unreadable", count=changes.unreadable)
        checks = [change.check for change in changes.items]
        list(self._threads.map(self._note, [check for check in checks if check.mark is not None]))
        due = {check: _seconds_until(check) for check in checks}
        missed = frozenset(self._queue.put(due))
        log.info("presence", checks=len(checks), missed=len(missed))
        return [change.sequence_number for change in changes.items if change.check in missed]

    def _note(self, check: Check) -> None:
        try:
            self._told.note_departure(check)
        except UnavailableError as error:
            log.warning("departure not noted", error=type(error).__name__)


def _seconds_until(check: Check) -> int:
    if check.about == "typing":
        return typing.AGAIN_SECONDS
    return 0 if check.mark is None else GRACE_SECONDS
