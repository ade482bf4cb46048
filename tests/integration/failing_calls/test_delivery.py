"""Delivery with storage failing at each call in turn: everybody has the log in the end."""

import json
from collections.abc import Sequence
from typing import cast

import pytest
from tests.doubles.queue_records import queue_record
from tests.integration.failing_calls.room import CHANNEL, FAILURES, Room

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import Item, Table
from commons.dal.serialisation import serialize_item
from commons.records.connection import REPLAY_SECONDS
from commons.schemas.base import BaseSchema
from commons.schemas.event import MemberLeftData, Sender
from commons.schemas.lambda_events import QueueRecord, StreamRecord
from commons.services.event_log import Draft, EventLogService
from workers_delivery.composition import build_services
from workers_delivery.schemas import CatchUp, Departed, ParkedRange, RoomRange

MOST_CALLS = 60
"""More than a batch takes."""

ROUNDS = 20
"""More than it takes until nothing comes again."""


class Queues:
    """What the worker sent to itself, or parked for a person."""

    def __init__(self) -> None:
        self.parked: list[ParkedRange] = []
        self.errands: list[BaseSchema] = []

    def park(self, parked: ParkedRange) -> None:
        self.parked.append(parked)

    def send_ranges(self, ranges: Sequence[RoomRange]) -> None:
        self.errands += ranges

    def send_catch_up(self, subscriptions: Sequence[CatchUp]) -> None:
        self.errands += subscriptions

    def send_departed(self, users: Sequence[Departed]) -> None:
        self.errands += users

    def finish(self, records: Sequence[QueueRecord]) -> None:
        """Whoever holds the errands forgets those that are done anyway."""

    def retry(self, records: Sequence[QueueRecord]) -> None:
        """They come again as soon as they are asked for."""


class World:
    """Alice and bob listen; carol takes nothing for a while, dave is gone, and eve has left."""

    def __init__(self) -> None:
        self.room = Room()
        self.queues = Queues()
        self.seconds_later = 0
        for user_id in ("carol", "dave", "eve"):
            self.room.join(user_id)
            self.room.connect(user_id, CHANNEL)
        self.room.broadcaster.failing = {"carol-1"}
        self.room.broadcaster.gone = {"dave-1"}
        left = Draft(sender=Sender(id="eve", kind="user"), data=MemberLeftData(user_id="eve"))
        EventLogService(self.room.storage).append(CHANNEL, lambda: left)
        self.room.storage.delete(Table.CHANNELS, keys.member_key(CHANNEL, "eve"))
        self._batches = build_services(
            self.room.failing,
            gateway=self.room.broadcaster,
            patient=self.room.broadcaster,
            queues=self.queues,
            epoch=lambda: epoch_milliseconds() + self.seconds_later * 1_000,
        ).batches

    def records(self, first: int) -> list[StreamRecord]:
        events = [
            item
            for item in self.room.storage.all_items(Table.CHAT_EVENTS)
            if item["channel_id"] == CHANNEL
            and "type" in item
            and cast("int", item["seq"]) >= first
        ]
        return [record(item) for item in sorted(events, key=lambda item: cast("int", item["seq"]))]

    def hand_over(self, records: Sequence[StreamRecord]) -> Sequence[StreamRecord]:
        """What comes again, from the first that failed on."""
        failed = self._batches.take_stream(records)
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        return records[numbers.index(failed[0]) :] if failed else []

    def run_errands(self) -> None:
        """Once; those that failed come again."""
        errands, self.queues.errands = self.queues.errands, []
        failed = self._batches.take_queue(
            [queue_record(str(number), errand.to_json()) for number, errand in enumerate(errands)]
        )
        self.queues.errands += [errands[int(message_id)] for message_id in failed]

    def settle(self, records: Sequence[StreamRecord]) -> None:
        for _ in range(ROUNDS):
            if records:
                records = self.hand_over(records)
            if self.queues.errands:
                self.run_errands()
            if not records and not self.queues.errands:
                return
        raise AssertionError("something comes again for ever")

    def seen(self, connection_id: str) -> list[int]:
        """The numbers of the events that it was sent, each once."""
        seqs = [
            event["seq"]
            for frame in self.room.broadcaster.frames[connection_id]
            for event in json.loads(frame).get("events", [])
        ]
        return list(dict.fromkeys(seqs))


def record(item: Item) -> StreamRecord:
    change = {
        "Keys": serialize_item({"channel_id": CHANNEL, "seq": item["seq"]}),
        "NewImage": serialize_item(item),
        "SequenceNumber": str(item["seq"]),
    }
    return cast(
        "StreamRecord",
        {"eventName": "INSERT", "eventSource": "aws:dynamodb", "dynamodb": change},
    )


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


@pytest.mark.parametrize("while_queued", [False, True], ids=["of the stream", "of the queue"])
@pytest.mark.parametrize("kind", FAILURES)
def test_whichever_call_fails_everybody_has_the_log_in_the_end_and_nothing_is_parked(
    kind: str, while_queued: bool
) -> None:
    for at_call in range(1, MOST_CALLS):
        world = World()
        records: Sequence[StreamRecord] = world.records(first=1)
        if while_queued:
            records = world.hand_over(records)
            assert world.queues.errands
            world.room.broadcaster.failing = set()
        world.room.fail(at_call, kind)

        if while_queued:
            world.run_errands()
        else:
            records = world.hand_over(records)
        has_failed = world.room.failing.has_failed
        told = f"call {at_call} of {world.room.failing.calls}"
        world.room.heal()
        world.room.broadcaster.failing = set()
        world.settle(records)
        world.seconds_later = REPLAY_SECONDS + 1
        seq = world.room.say("and now?")
        world.settle(world.records(first=seq))

        assert world.queues.parked == [], told
        for user_id in ("alice", "bob", "carol"):
            assert world.seen(f"{user_id}-1") == [1, 2, 3, 4], f"{user_id}: {told}"
        assert 4 not in world.seen("eve-1"), told
        assert world.room.connections.find("dave-1") is None, told
        assert {row.user_id for row in world.room.connections.room(CHANNEL)} == {
            "alice",
            "bob",
            "carol",
        }, told
        world.room.check()
        if not has_failed:
            assert at_call > 1
            return
    raise AssertionError("a batch takes more calls than were tried")
