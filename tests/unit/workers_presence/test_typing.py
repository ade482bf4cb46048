"""The latest state of who types, every 2 s at most."""

import json

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Table, Update
from commons.dynamodb.exceptions import StorageBusyError
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.rate_limit import NOTICES_A_SECOND, NoticeRateService
from commons.services.typing_notices import TypingNoticesService
from workers_presence.schemas import Check

from .conftest import Room


class Typist:
    """Alice, whose typing carol is told of."""

    def __init__(self, room: Room, broadcaster: InMemoryBroadcaster) -> None:
        self.room = room
        self.broadcaster = broadcaster
        self.notices = TypingNoticesService(
            room.repository,
            broadcasts=ChannelBroadcastService(room.repository, broadcaster=broadcaster),
            notice_rate=NoticeRateService(room.repository, kind="typing", clock=room.clock),
            clock=room.clock,
        )

    def say(self, *states: bool, channel_id: str = "C") -> None:
        """Says it, and lets the stream see what became of the row."""
        for typing in states:
            before = self.row(channel_id)
            self.notices.say(channel_id, "alice", typing=typing)
            after = self.row(channel_id)
            if "wanted" in after and "wanted" not in before:
                check = Check(channel_id=channel_id, user_id="alice", about="typing")
                self.room.queue.put({check: 2})

    def row(self, channel_id: str = "C") -> dict[str, object]:
        key = keys.typing_key(channel_id, "alice")
        return self.room.repository.find(Table.CONNECTIONS, key) or {}

    def told(self) -> list[bool]:
        frames = map(json.loads, self.broadcaster.frames.pop("carol", []))
        return [frame["typing"] for frame in frames if frame["type"] == "typing"]


@pytest.fixture
def alice(room: Room, broadcaster: InMemoryBroadcaster) -> Typist:
    return Typist(room, broadcaster)


def test_a_change_within_2_seconds_is_told_after_them(alice: Typist) -> None:
    alice.say(True, False)
    assert alice.told() == [True]

    alice.room.after(2)

    assert alice.told() == [False]
    assert "wanted" not in alice.row()


def test_of_many_changes_the_latest_is_told(alice: Typist) -> None:
    alice.say(True, *[False, True] * 20, False)

    alice.room.after(2)

    assert alice.told() == [True, False]


def test_who_changed_back_has_told_nothing_new(alice: Typist) -> None:
    alice.say(True, False, True)

    alice.room.after(2)

    assert alice.told() == [True]
    assert "wanted" not in alice.row()


def test_the_same_is_told_again_after_2_seconds(alice: Typist) -> None:
    alice.say(True, True)
    alice.room.after(2)
    alice.say(True)

    assert alice.told() == [True, True]


def test_what_the_bucket_refused_is_told_once_it_has_a_token(
    alice: Typist, repository: InMemoryRepository
) -> None:
    empty = Update(set={"full_at": alice.room.clock() + 5_000})
    repository.update(Table.CHANNELS, keys.rate_key("alice", "typing"), empty)
    alice.say(True)
    assert alice.told() == []

    for _ in range(4):
        alice.room.after(2)

    assert alice.told() == [True]


def test_in_any_number_of_channels_ten_a_second_are_told_at_most(alice: Typist) -> None:
    began = alice.room.clock()
    for number in range(60):
        alice.room.connect("dora", f"dora-{number}", f"C{number}")
        alice.say(True, channel_id=f"C{number}")

    def bound() -> float:
        return NOTICES_A_SECOND + NOTICES_A_SECOND * (alice.room.clock() - began) / 1_000

    def told() -> int:
        return sum(map(len, alice.broadcaster.frames.values()))

    assert NOTICES_A_SECOND <= told() <= bound()
    alice.room.after(2)
    assert 2 * NOTICES_A_SECOND <= told() <= bound()


def test_what_could_not_be_told_for_10_seconds_is_told_no_more(
    alice: Typist, repository: InMemoryRepository
) -> None:
    empty = Update(set={"full_at": alice.room.clock() + 60_000})
    repository.update(Table.CHANNELS, keys.rate_key("alice", "typing"), empty)
    alice.say(True)

    for _ in range(6):
        alice.room.after(2)

    assert alice.room.queue.waiting == {}
    assert alice.told() == []
    assert "wanted" not in alice.row()


def test_storage_that_is_busy_only_delays_it(
    alice: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_args: object, **_kwargs: object) -> object:
        raise StorageBusyError

    alice.say(True, False)
    with monkeypatch.context() as outage:
        outage.setattr(alice.room.repository, "find", busy)
        assert alice.room.after(2) == []

    alice.room.after(2)

    assert alice.told() == [True, False]


def test_a_check_handed_over_twice_tells_once(alice: Typist) -> None:
    alice.say(True, False)
    (check,) = alice.room.queue.due(2)
    alice.room.clock.moment += 2_000

    alice.room.hand_over(check)
    alice.room.hand_over(check)

    assert alice.told() == [True, False]
