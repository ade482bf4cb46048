"""A batch as Lambda hands it over: what came of it, and what has to come again."""

from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from commons.dal import IRepository
from commons.dynamodb.exceptions import RepositoryError
from commons.observability import log
from commons.schemas.lambda_events import QueueRecord, StreamRecord
from commons.services.base import BaseService
from workers_presence.records import read_changes
from workers_presence.schemas import Departure
from workers_presence.services.presence import PresenceService


class BatchService(BaseService):
    """Reads batches from both sources; nothing that a record holds makes it raise."""

    def __init__(self, repository: IRepository | None = None, *, presence: PresenceService) -> None:
        super().__init__(repository)
        self._presence = presence

    def take_stream(self, records: Sequence[StreamRecord]) -> list[str]:
        """Returns the sequence numbers of what has to come again."""
        changes = read_changes(records)
        if changes.unreadable:
            log.error("records unreadable", count=changes.unreadable)
        return self._presence.take_changes(changes.items)

    def take_queue(self, records: Iterable[QueueRecord]) -> list[str]:
        """Returns the ids of the messages that have to come again."""
        taken = {record["messageId"]: self._confirm(record) for record in records}
        again = [message_id for message_id, settled in taken.items() if not settled]
        log.info("departures", count=len(taken), failed=len(again))
        return again

    def _confirm(self, record: QueueRecord) -> bool:
        try:
            self._presence.confirm(Departure.model_validate_json(record["body"]))
        except (ValidationError, RepositoryError) as error:
            log.error("departure unsettled", error=type(error).__name__)
            return False
        return True
