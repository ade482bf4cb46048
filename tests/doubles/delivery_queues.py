"""The delivery worker's queues where nothing is slow, full or wrong."""

from collections.abc import Sequence

from commons.schemas.lambda_events import QueueRecord
from workers_delivery.queues import IDeliveryQueues
from workers_delivery.schemas import CatchUp, Departed, ParkedRange, RoomRange


class NoQueues(IDeliveryQueues):
    def park(self, parked: ParkedRange) -> None:
        raise AssertionError(parked)

    def send_ranges(self, ranges: Sequence[RoomRange]) -> None:
        raise AssertionError(ranges)

    def send_catch_up(self, subscriptions: Sequence[CatchUp]) -> None:
        assert not subscriptions

    def send_departed(self, users: Sequence[Departed]) -> None:
        raise AssertionError(users)

    def finish(self, records: Sequence[QueueRecord]) -> None:
        raise AssertionError(records)

    def retry(self, records: Sequence[QueueRecord]) -> None:
        raise AssertionError(records)
