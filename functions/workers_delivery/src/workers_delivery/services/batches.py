"""A batch as Lambda hands it over: what came of it, and what has to come again."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from workers_delivery.services.backlog import BacklogService
from workers_delivery.services.delivery import DeliveryService
from workers_delivery.services.slow_connections import SlowConnectionsService

type Work = Callable[[], bool]
"""Does what messages ask for; False: they have to come again."""

_ERRAND: TypeAdapter[Errand | ParkedRange] = TypeAdapter(Errand | ParkedRange)


@dataclass(frozen=True, slots=True)
class _Job:
    """What messages of one queue ask for.

    Attributes:
        is_in_order: others wait until these are done.
    """

    records: Sequence[QueueRecord]
    work: Work
    is_in_order: bool = False

    def is_done(self) -> bool:
        try:
            return self.work()
        except UnavailableError as error:
            log.warning("errand postponed", error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - only its kind is said: it may quote text
            log.error("errand failed", error=type(error).__name__)
            count_unhandled()
        return False


class BatchService(BaseService):
    """Delivers batches and parks what cannot be delivered, so that nothing blocks the stream.

    Args:
        delivery: brings the events to connections.
        slow: brings up connections that did not take them in time.
        backlog: knows what follows behind what the queue brings.
        ending: ends subscriptions.
        queues: take what could not be brought.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        delivery: DeliveryService,
        slow: SlowConnectionsService,
        backlog: BacklogService,
        ending: SubscriptionsEndingService,
        queues: IDeliveryQueues,
    ) -> None:
        super().__init__(repository)
        self._delivery = delivery
        self._slow = slow
        self._backlog = backlog
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
        jobs = self._jobs(records)
        with ThreadPoolExecutor(max(len(jobs), 1), thread_name_prefix="errand") as threads:
            failed = list(threads.map(partial(self._run, is_alone=len(jobs) == 1), jobs))
        again = [record["messageId"] for some in failed for record in some]
        log.info("errands", count=len(records), failed=len(again))
        return again

    def _run(self, job: _Job, *, is_alone: bool) -> Sequence[QueueRecord]:
        """Does it; returns the messages that have to come again.

        What follows in a FIFO group waits for its messages: for no other job of the batch, if this
        one is done, and not for as long as the queue would hide them, if it failed.
        """
        if job.is_done():
            if job.is_in_order and not is_alone:
                self._queues.finish(job.records)
            return ()
        self._queues.retry(job.records)
        return job.records

    def _jobs(self, records: Sequence[QueueRecord]) -> list[_Job]:
        """What is to be done for which messages; a shard's ranges are one."""
        jobs: list[_Job] = []
        ranges: dict[tuple[str, int | None], list[tuple[QueueRecord, RoomRange]]]
        ranges = defaultdict(list)
        for record in records:
            match errand := _read(record):
                case None:
                    jobs.append(_Job([record], lambda: False))
                case RoomRange():
                    ranges[errand.channel_id, errand.shard].append((record, errand))
                case CatchUp():
                    jobs.append(_Job([record], partial(self._slow.catch_up, errand)))
                case Departed():
                    jobs.append(_Job([record], partial(self._end, errand)))
                case ParkedRange():
                    jobs.append(_Job([record], partial(self._redeliver, errand)))
        return jobs + [
            _Job(
                [record for record, _ in some],
                partial(self._deliver, _joined(some)),
                is_in_order=True,
            )
            for some in ranges.values()
        ]

    def _deliver(self, asked: RoomRange) -> bool:
        delivery = self._delivery.deliver_range(asked)
        log.info("range delivered", **asked.model_dump(), delivered=delivery.delivered)
        lost = [each for each in delivery.undelivered if each.reason != "unavailable"]
        is_done = not self._park(lost) and len(lost) == len(delivery.undelivered)
        if is_done and asked.shard is None:
            self._clear_backlog(asked)
        return is_done

    def _clear_backlog(self, brought: RoomRange) -> None:
        """If it stays, the channel's next event takes its way through the queue and clears it."""
        try:
            self._backlog.clear(brought.channel_id, brought.to_seq)
        except UnavailableError as error:
            log.warning("backlog not cleared", error=type(error).__name__)

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


def _joined(ranges: Sequence[tuple[QueueRecord, RoomRange]]) -> RoomRange:
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
