"""The worker's side of the queues that wake it, on moto's SQS."""

import boto3
import pytest
from tests.doubles.queue_records import queue_record
from tests.integration.workers_delivery.support import deploy_queue

from commons.queues import SqsQueue
from commons.schemas.lambda_events import QueueRecord
from workers_delivery.queues import SqsDeliveryQueues
from workers_delivery.schemas import RoomRange

FIRST = RoomRange(channel_id="C", from_seq=1, to_seq=1)
SECOND = RoomRange(channel_id="C", from_seq=2, to_seq=2)


class Rooms:
    """The queue of rooms, as the worker and as Lambda use it."""

    def __init__(self) -> None:
        self._url, other = (
            deploy_queue("WorkersDeliveryQueuesFunction", variable)
            for variable in ("ROOMS_QUEUE_URL", "CATCH_UP_QUEUE_URL")
        )
        self._sqs = boto3.client("sqs")
        self._name = self._url.rpartition("/")[2]
        rooms, catch_up = SqsQueue(self._url), SqsQueue(other)
        self.worker = SqsDeliveryQueues(parking=catch_up, rooms=rooms, catch_up=catch_up)

    def receive(self, *, tries: int = 1) -> list[QueueRecord]:
        answer = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=1)
        return [
            {
                **queue_record(each["MessageId"], each["Body"], queue=self._name, tries=tries),
                "receiptHandle": each["ReceiptHandle"],
            }
            for each in answer.get("Messages", [])
        ]


@pytest.fixture
def rooms(moto_aws: None) -> Rooms:
    return Rooms()


def test_what_follows_in_its_group_is_seen_once_a_message_is_finished(rooms: Rooms) -> None:
    rooms.worker.send_ranges([FIRST, SECOND])
    first = rooms.receive()

    assert rooms.receive() == []
    rooms.worker.finish(first)

    assert [each["body"] for each in rooms.receive()] == [SECOND.to_json()]


@pytest.mark.parametrize(("tries", "seconds"), [(1, 2), (5, 32), (6, 60), (999, 60)])
def test_what_failed_shows_again_soon_and_later_each_time(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch, tries: int, seconds: int
) -> None:
    hidden: list[int] = []
    monkeypatch.setattr(SqsQueue, "hide", lambda _queue, _handles, some: hidden.append(some))
    rooms.worker.send_ranges([FIRST])

    rooms.worker.retry(rooms.receive(tries=tries))

    assert hidden == [seconds]
