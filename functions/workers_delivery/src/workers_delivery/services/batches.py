"""A batch as Lambda hands it over: what came of it, and what has to come again."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pydantic import TypeAdapter, ValidationError

from commons.dal import IRepository
from commons.dynamodb.exceptions import RepositoryError
from commons.errors import UnavailableError
from commons.observability import count_unhandled, log
from commons.schemas.lambda_events import QueueRecord, StreamRecord
from commons.services.base import BaseService
from commons.services.subscriptions_ending import SubscriptionsEndingService
from workers_delivery.queues import IDeliveryQueues
from workers_delivery.records import Batch, read_batch
from workers_delivery.schemas import CatchUp, Departed, Errand, ParkedRange, RoomRange
from workers_delivery.services.delivery import DeliveryService
from workers_delivery.services.slow_connections import SlowConnectionsService

type Work = Callable[[], bool]
"""Does what messages ask for; False: they have to come again."""

_ERRAND: TypeAdapter[Errand | ParkedRange] = TypeAdapter(Errand | ParkedRange)


class BatchService(BaseService):
    """Delivers batches and parks what cannot be delivered, so that nothing blocks the stream.

    Args:
        delivery: brings the events to connections.
        slow: brings up connections that did not take them in time.
        ending: ends subscriptions.
        queues: take what could not be brought.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        delivery: DeliveryService,
        slow: SlowConnectionsService,
        ending: SubscriptionsEndingService,
        queues: IDeliveryQueues,
    ) -> None:
        super().__init__(repository)
        self._delivery = delivery
        self._slow = slow
        self._ending = ending
        self._queues = queues

    def take_stream(self, records: Sequence[StreamRecord]) -> list[str]:
        """Delivers what was appended.

        Returns:
            The sequence number of the first record that storage or the API let nobody deliver, or
            that could be neither delivered nor parked: the stream is handed over again from there.
            Empty where all is done.
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
            set_aside=delivery.set_aside,
            parked=len(undelivered) - len(unparked),
            postponed=len(postponed),
            unidentified=batch.unidentified,
            correlation_ids=sorted(batch.correlation_ids),
        )
        return _first_sequence_number(batch, [*postponed, *unparked])

    def take_queue(self, records: Sequence[QueueRecord]) -> list[str]:
        """Does what queue messages ask for, side by side.

        Returns:
            The ids of the messages that have to come again.
        """
        errands = {record["messageId"]: _read(record) for record in records}
        again = [message_id for message_id, errand in errands.items() if errand is None]
        jobs = self._jobs({each: errand for each, errand in errands.items() if errand is not None})
        with ThreadPoolExecutor(max(len(jobs), 1), thread_name_prefix="errand") as threads:
            for (message_ids, _), is_done in zip(
                jobs, threads.map(lambda job: _is_done(job[1]), jobs), strict=True
            ):
                if not is_done:
                    again += message_ids
        log.info("errands", count=len(errands), failed=len(again))
        return again

    def _jobs(
        self, errands: dict[str, RoomRange | CatchUp | Departed | ParkedRange]
    ) -> list[tuple[list[str], Work]]:
        """What is to be done for which messages; a shard's ranges are one."""
        jobs: list[tuple[list[str], Work]] = []
        ranges: dict[tuple[str, int | None], list[tuple[str, RoomRange]]] = defaultdict(list)
        for message_id, errand in errands.items():
            match errand:
                case RoomRange():
                    ranges[errand.channel_id, errand.shard].append((message_id, errand))
                case CatchUp():
                    jobs.append(([message_id], partial(self._slow.catch_up, errand)))
                case Departed():
                    jobs.append(([message_id], partial(self._end, errand)))
                case ParkedRange():
                    jobs.append(([message_id], partial(self._redeliver, errand)))
        return jobs + [
            ([each for each, _ in some], partial(self._deliver, _joined(some)))
            for some in ranges.values()
        ]

    def _deliver(self, asked: RoomRange) -> bool:
        delivery = self._delivery.deliver_range(asked)
        log.info("range delivered", **asked.model_dump(), delivered=delivery.delivered)
        lost = [each for each in delivery.undelivered if each.reason != "unavailable"]
        return not self._park(lost) and len(lost) == len(delivery.undelivered)

    def _redeliver(self, parked: ParkedRange) -> bool:
        """What a person has put back to work; it stays parked where it fails again."""
        asked = RoomRange(
            channel_id=parked.channel_id, from_seq=parked.from_seq, to_seq=parked.to_seq
        )
        return not self._delivery.deliver_range(asked).undelivered

    def _end(self, departed: Departed) -> bool:
        """What the API does on removal, where it could not."""
        self._ending.end_of_user(departed.channel_id, departed.user_id)
        return True

    def _park(self, undelivered: Iterable[ParkedRange]) -> list[ParkedRange]:
        """Parks each range; returns those that the queue did not take."""
        unparked: list[ParkedRange] = []
        for parked in undelivered:
            log.error("parked", **parked.model_dump())
            try:
                self._queues.park(parked)
            except RepositoryError:
                unparked.append(parked)
        return unparked


def _read(record: QueueRecord) -> RoomRange | CatchUp | Departed | ParkedRange | None:
    try:
        return _ERRAND.validate_json(record["body"])
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        log.error("errand unreadable", error=type(error).__name__)
        return None


def _is_done(work: Work) -> bool:
    try:
        return work()
    except UnavailableError as error:
        log.warning("errand postponed", error=type(error).__name__)
    except Exception as error:  # noqa: BLE001 - of what it raised only the kind: it may quote text
        log.error("errand failed", error=type(error).__name__)
        count_unhandled()
    return False


def _joined(ranges: Sequence[tuple[str, RoomRange]]) -> RoomRange:
    asked = [each for _, each in ranges]
    return asked[-1].model_copy(
        update={
            "from_seq": min(each.from_seq for each in asked),
            "to_seq": max(each.to_seq for each in asked),
        }
    )


def _first_sequence_number(batch: Batch, again: Iterable[ParkedRange]) -> list[str]:
    numbers = {
        batch.sequence_numbers[each.channel_id, seq]
        for each in again
        for seq in range(each.from_seq, each.to_seq + 1)
        if (each.channel_id, seq) in batch.sequence_numbers
    }
    if not numbers:
        return []
    return [next(number for number in batch.sequence_numbers.values() if number in numbers)]
