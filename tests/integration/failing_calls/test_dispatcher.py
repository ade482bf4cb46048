"""The dispatcher with storage failing at each call in turn, and the queue at each message."""

from collections.abc import Mapping, Sequence
from typing import cast

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.failing_calls.room import CHANNEL, FAILURES, Room

from commons import keys
from commons.dal import Item, Table
from commons.dal.serialisation import serialize_item
from commons.dynamodb.exceptions import StorageUnreachableError
from commons.schemas.generation import GenerationRequest
from commons.schemas.lambda_events import StreamRecord
from commons.services.crowding import CrowdingService
from commons.services.generations import GenerationsService
from commons.services.membership import MembershipService
from workers_agent_dispatcher import handler
from workers_agent_dispatcher.schemas import Parked, Question
from workers_agent_dispatcher.services.dispatch import DispatchService

MOST_CALLS = 40
"""More than the records of the batch take."""

MALFORMED_SEQ = 99


class Queue:
    """Takes no message with one of the numbers in `refusing`, counted from 1."""

    def __init__(self, refusing: int | None = None) -> None:
        self._refusing = refusing
        self.messages = 0
        self.asked: list[GenerationRequest] = []
        self.parked: list[Parked] = []

    def _is_taken(self) -> bool:
        self.messages += 1
        return self.messages != self._refusing

    def ask(self, questions: Sequence[Question]) -> list[int]:
        refused = []
        for position, question in enumerate(questions):
            if self._is_taken():
                self.asked.append(question.request)
            else:
                refused.append(position)
        return refused

    def park(self, parked: Parked) -> None:
        if not self._is_taken():
            raise StorageUnreachableError("the queue")
        self.parked.append(parked)


class Stream:
    """Hands records over to the handler, from the first one that failed on again."""

    def __init__(self, room: Room, queue: Queue, patch: pytest.MonkeyPatch) -> None:
        service = DispatchService(
            queue,
            room.failing,
            membership=MembershipService(room.failing),
            generations=GenerationsService(room.failing),
            crowding=CrowdingService(room.failing, workers=20),
        )
        patch.setattr(handler, "dispatch_service", lambda: service)
        self._context = LambdaContext()
        self._context._function_name = "dispatcher"
        self._context._memory_limit_in_mb = 256
        self._context._invoked_function_arn = "arn:aws:lambda:eu-west-1:1:function:dispatcher"
        self._context._aws_request_id = "request-1"

    def hand_over(self, records: Sequence[StreamRecord]) -> list[StreamRecord]:
        """Once; the records that come again."""
        answer = handler.lambda_handler({"Records": list(records)}, self._context)
        failures = answer["batchItemFailures"]
        if not failures:
            return []
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        return list(records[numbers.index(failures[0]["itemIdentifier"]) :])


def record(number: int, image: Mapping[str, object]) -> StreamRecord:
    return cast(
        "StreamRecord",
        {
            "eventName": "INSERT",
            "dynamodb": {
                "NewImage": serialize_item(dict(image)),
                "SequenceNumber": f"{number:05}",
            },
        },
    )


def a_batch(room: Room) -> list[StreamRecord]:
    """Two questions, a message nobody is asked by, a regeneration, and a record that is broken."""
    stored = room.storage.all_items(Table.CHAT_EVENTS)
    of_log = sorted(
        (item for item in stored if item["channel_id"] == CHANNEL and "type" in item),
        key=lambda item: cast("int", item["seq"]),
    )
    broken: Item = {**of_log[0], "seq": MALFORMED_SEQ, "data": {"text": 1}}
    reply: Item = {**of_log[0], "seq": 5, "sender_kind": "agent", "sender_id": "#agent"}
    regenerated = room.storage.get(Table.CHANNELS, keys.open_generation_key(CHANNEL, 1, 1))
    again: Item = {**regenerated, "generation": 2, "wakes": "dispatcher"}
    images = [of_log[0], broken, reply, of_log[1], again]
    return [record(number, image) for number, image in enumerate(images, start=1)]


def dispatched(queue: Queue) -> set[tuple[int, int]]:
    return {(each.question_seq, each.generation) for each in queue.asked}


def check(room: Room, queue: Queue) -> None:
    """Every question is queued and has its row, and a person is asked about the broken one alone."""
    assert dispatched(queue) == {(1, 1), (1, 2), (2, 1)}
    assert {parked.from_seq for parked in queue.parked} == {MALFORMED_SEQ}
    assert [row.question_seq for row in room.generations.list_open(CHANNEL)] == [1, 2]


@pytest.mark.parametrize("kind", FAILURES)
def test_whichever_call_fails_records_come_again_and_each_question_is_queued(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0
    for at_call in range(1, MOST_CALLS):
        room, queue = Room(), Queue()
        stream = Stream(room, queue, monkeypatch)
        batch = a_batch(room)
        room.fail(at_call, kind)

        left = stream.hand_over(batch)
        has_failed = room.failing.has_failed
        room.heal()
        assert stream.hand_over(left) == []

        check(room, queue)
        failures += has_failed
        if not has_failed:
            break

    assert failures > 2


def test_whichever_message_the_queue_refuses_records_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for refused in range(1, MOST_CALLS):
        room, queue = Room(), Queue(refused)
        stream = Stream(room, queue, monkeypatch)

        left = stream.hand_over(a_batch(room))
        was_refused = queue.messages >= refused
        assert bool(left) == was_refused
        assert stream.hand_over(left) == []

        check(room, queue)
        if not was_refused:
            assert refused == 5
            return
