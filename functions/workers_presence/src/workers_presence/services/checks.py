"""Checks that are due, as the queue hands them over."""

from collections.abc import Iterable

from pydantic import ValidationError

from commons.dal import IRepository
from commons.observability import log
from commons.schemas.lambda_events import QueueRecord
from commons.services.base import BaseService
from workers_presence.queue import IChecks
from workers_presence.schemas import Check
from workers_presence.services.presence import PresenceService
from workers_presence.services.typing import TypingChecksService


class ChecksService(BaseService):
    """Does a batch of checks.

    What storage or a connection did not do is queued anew, so that it counts as no failure of its
    message: only what cannot be read, or crashes, ends in the dead letters.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        presence: PresenceService,
        typing: TypingChecksService,
        queue: IChecks,
    ) -> None:
        super().__init__(repository)
        self._presence = presence
        self._typing = typing
        self._queue = queue

    def take(self, records: Iterable[QueueRecord]) -> list[str]:
        """Returns the ids of the messages that have to come again."""
        failed: list[str] = []
        checks: dict[Check, list[str]] = {}
        for record in records:
            try:
                check = Check.model_validate_json(record["body"])
            except ValidationError as error:
                log.error("check unreadable", error=type(error).__name__)
                failed.append(record["messageId"])
            else:
                checks.setdefault(check, []).append(record["messageId"])
        again = {
            **self._presence.settle(each for each in checks if each.about == "presence"),
            **self._typing.settle(each for each in checks if each.about == "typing"),
        }
        failed += [message for check in self._queue.put(again) for message in checks[check]]
        log.info("checks", count=len(checks), again=len(again), failed=len(failed))
        return failed
