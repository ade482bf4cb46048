"""The queues that the delivery worker sends to; it is also the one that they wake."""

from collections.abc import Sequence
from typing import Protocol
from uuid import uuid4

from commons.dynamodb.exceptions import StorageBusyError
from commons.queues import QueueMessage, SqsQueue
from commons.schemas.lambda_events import QueueRecord
from workers_delivery.schemas import CatchUp, Departed, ParkedRange, RoomRange

API_SECONDS = 2
"""What a call that removes somebody has to end their subscriptions itself."""

RETRY_SECONDS = 60
"""Between two tries at most, as between those that Lambda leaves to the queue."""


class IDeliveryQueues(Protocol):
    """Each call raises RepositoryError where a queue did not take everything."""

    def park(self, parked: ParkedRange) -> None:
        """Lays a range aside until a person puts it back to work."""
        ...

    def send_ranges(self, ranges: Sequence[RoomRange]) -> None:
        """Each in its order among those of its room's shard."""
        ...

    def send_catch_up(self, subscriptions: Sequence[CatchUp]) -> None: ...

    def send_departed(self, users: Sequence[Departed]) -> None:
        """To be looked at once the API had its time."""
        ...

    def finish(self, records: Sequence[QueueRecord]) -> None:
        """Lets go of one queue's messages whose work is done, while the batch is still at others'."""
        ...

    def retry(self, records: Sequence[QueueRecord]) -> None:
        """Lets one queue's messages whose work failed show again soon, and later each time."""
        ...


class SqsDeliveryQueues:
    """IDeliveryQueues over SQS."""

    def __init__(self, *, parking: SqsQueue, rooms: SqsQueue, catch_up: SqsQueue) -> None:
        self._parking = parking
        self._rooms = rooms
        self._catch_up = catch_up
        self._sources = {queue.name: queue for queue in (rooms, catch_up)}

    def park(self, parked: ParkedRange) -> None:
        self._parking.send(QueueMessage(parked.to_json()))

    def send_ranges(self, ranges: Sequence[RoomRange]) -> None:
        # An id of its own for each: what is handed over again may be sent again.
        messages = [
            QueueMessage(
                each.to_json(),
                group=f"{each.channel_id}#{each.shard or 0}",
                deduplication=uuid4().hex,
            )
            for each in ranges
        ]
        _send(self._rooms, messages)

    def send_catch_up(self, subscriptions: Sequence[CatchUp]) -> None:
        _send(self._catch_up, [QueueMessage(each.to_json()) for each in subscriptions])

    def send_departed(self, users: Sequence[Departed]) -> None:
        _send(
            self._catch_up,
            [QueueMessage(each.to_json(), delay_seconds=API_SECONDS) for each in users],
        )

    def finish(self, records: Sequence[QueueRecord]) -> None:
        self._source(records).delete([each["receiptHandle"] for each in records])

    def retry(self, records: Sequence[QueueRecord]) -> None:
        tries = max(int(each["attributes"]["ApproximateReceiveCount"]) for each in records)
        seconds = min(2**tries, RETRY_SECONDS)
        self._source(records).hide([each["receiptHandle"] for each in records], seconds)

    def _source(self, records: Sequence[QueueRecord]) -> SqsQueue:
        return self._sources[records[0]["eventSourceARN"].rpartition(":")[2]]


def _send(queue: SqsQueue, messages: Sequence[QueueMessage]) -> None:
    if messages and queue.send_all(messages):
        raise StorageBusyError("a queue did not take every message")
