"""A batch as Lambda hands it over: what came of it, and what has to come again."""

from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from commons.dal import IRepository
from commons.dynamodb.exceptions import RepositoryError
from commons.observability import log
from commons.schemas.lambda_events import QueueRecord, StreamRecord
from commons.services.base import BaseService
from workers_delivery.parking import IParking
from workers_delivery.records import Batch, read_batch
from workers_delivery.schemas import ParkedRange
from workers_delivery.services.delivery import DeliveryService


class BatchService(BaseService):
    """Delivers batches and parks what cannot be delivered, so that nothing blocks the stream.

    Args:
        delivery: brings the events to connections.
        parking: takes what could not be brought.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        delivery: DeliveryService,
        parking: IParking,
    ) -> None:
        super().__init__(repository)
        self._delivery = delivery
        self._parking = parking

    def take_stream(self, records: Sequence[StreamRecord]) -> list[str]:
        """Delivers what was appended.

        Returns:
            The sequence number of the first record that storage let nobody deliver, or that could
            be neither delivered nor parked: the stream is handed over again from there. Empty
            where all is done.
        """
        batch = read_batch(records)
        delivery = self._delivery.deliver(batch.events)
        # What storage did not do comes back by itself: the stream hands it over again.
        postponed = [each for each in delivery.undelivered if each.reason == "unavailable"]
        undelivered = [
            *batch.malformed,
            *(each for each in delivery.undelivered if each.reason != "unavailable"),
        ]
        unparked = self._park(undelivered)
        log.info(
            "delivered",
            channels=len(batch.events),
            events=sum(map(len, batch.events.values())),
            delivered=delivery.delivered,
            stale=delivery.stale,
            failed=delivery.failed,
            parked=len(undelivered) - len(unparked),
            postponed=len(postponed),
            unidentified=batch.unidentified,
            correlation_ids=sorted(batch.correlation_ids),
        )
        return _first_sequence_number(batch, [*postponed, *unparked])

    def take_queue(self, records: Iterable[QueueRecord]) -> list[str]:
        """Delivers parked ranges that were put back to work.

        Returns:
            The ids of the messages that still cannot be delivered.
        """
        return [record["messageId"] for record in records if not self._redeliver(record)]

    def _redeliver(self, record: QueueRecord) -> bool:
        try:
            parked = ParkedRange.model_validate_json(record["body"])
            delivery = self._delivery.redeliver(parked)
        except (ValidationError, KeyError, TypeError, ValueError, RepositoryError) as error:
            log.error("range not delivered", error=type(error).__name__)
            return False
        log.info(
            "range delivered",
            channel_id=parked.channel_id,
            from_seq=parked.from_seq,
            to_seq=parked.to_seq,
            delivered=delivery.delivered,
            failed=delivery.failed,
        )
        return not delivery.undelivered

    def _park(self, undelivered: Iterable[ParkedRange]) -> list[ParkedRange]:
        """Parks each range; returns those that the queue did not take."""
        unparked: list[ParkedRange] = []
        for parked in undelivered:
            log.error("parked", **parked.model_dump())
            try:
                self._parking.park(parked)
            except RepositoryError:
                unparked.append(parked)
        return unparked


def _first_sequence_number(batch: Batch, unparked: Iterable[ParkedRange]) -> list[str]:
    numbers = {
        batch.sequence_numbers[parked.channel_id, seq]
        for parked in unparked
        for seq in range(parked.from_seq, parked.to_seq + 1)
        if (parked.channel_id, seq) in batch.sequence_numbers
    }
    if not numbers:
        return []
    return [next(number for number in batch.sequence_numbers.values() if number in numbers)]
