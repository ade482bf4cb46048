"""The log: numbers without a gap, whoever writes at once and whatever is lost on the way."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.doubles.faults import RepeatingRepository
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Compare, Exists, Item, PutWrite, Table, UpdateWrite, Write
from commons.dal.interface import Update
from commons.dynamodb.exceptions import StorageBusyError
from commons.errors import ChannelNotFoundError, MessageNotFoundError
from commons.records.event import event_from_item
from commons.schemas.event import (
    ChannelDeletedData,
    MemberLeftData,
    MessageCreated,
    MessageCreatedData,
    Sender,
)
from commons.services import append as append_module
from commons.services.event_log import Draft, EventLogService

CHANNEL = "channel-1"
ALICE = Sender(id="alice", name="Alice", kind="user")


def message(text: str = "hello") -> Draft:
    return Draft(sender=ALICE, data=MessageCreatedData(text=text))


def seqs(event_log: EventLogService) -> list[int]:
    return [event.seq for event in event_log.read(CHANNEL, after=0, limit=100).items]


def test_events_are_numbered_from_one(repository: InMemoryRepository) -> None:
    log = EventLogService(repository)

    appended = [log.append(CHANNEL, message).seq for _ in range(3)]

    assert appended == [1, 2, 3]
    assert seqs(log) == [1, 2, 3]


def test_an_event_comes_back_as_it_was_appended(repository: InMemoryRepository) -> None:
    data = MessageCreatedData(text="naïve 🦜", metadata={"x": 1.0, "deep": [None, {"y": "é"}]})
    log = EventLogService(repository)

    event = log.append(CHANNEL, lambda: Draft(sender=ALICE, data=data))

    assert log.get(CHANNEL, 1) == event
    assert isinstance(event, MessageCreated)
    assert event.data == data
    assert event.to_wire()["data"]["metadata"] == {"x": 1.0, "deep": [None, {"y": "é"}]}


def test_what_a_newer_writer_stored_is_ignored(repository: InMemoryRepository) -> None:
    EventLogService(repository).append(CHANNEL, message)
    item = repository.get(Table.CHAT_EVENTS, keys.event_key(CHANNEL, 1))
    data = item["data"]
    assert isinstance(data, dict)

    event = event_from_item({**item, "data": {**data, "colour": "red"}, "mood": "good"})

    assert event.seq == 1


def test_writers_that_know_an_old_head_still_append_after_each_other(
    repository: InMemoryRepository,
) -> None:
    writers = [EventLogService(repository) for _ in range(8)]
    for writer in writers:
        writer.append(CHANNEL, message)

    with ThreadPoolExecutor(8) as pool:
        appended = list(pool.map(lambda n: writers[n % 8].append(CHANNEL, message).seq, range(80)))

    assert sorted(appended) == list(range(9, 89))
    assert seqs(writers[0]) == list(range(1, 89))


def test_a_writer_that_meets_its_own_write_appends_once() -> None:
    log = EventLogService(RepeatingRepository())

    event = log.append(CHANNEL, message)

    assert event.seq == 1
    assert seqs(log) == [1]


def test_a_late_writer_of_a_deleted_channel_is_refused(repository: InMemoryRepository) -> None:
    log = EventLogService(repository)
    log.append(CHANNEL, message)

    def delete_meanwhile() -> Draft:
        _append_behind(repository, 2, "channel.deleted", ChannelDeletedData())
        return message()

    with pytest.raises(ChannelNotFoundError):
        log.append(CHANNEL, delete_meanwhile)
    assert seqs(log) == [1, 2]


def test_a_cold_writer_of_a_deleted_channel_is_refused(repository: InMemoryRepository) -> None:
    _append_behind(repository, 1, "channel.deleted", ChannelDeletedData())

    with pytest.raises(ChannelNotFoundError):
        EventLogService(repository).append(CHANNEL, message)


def test_authorisation_is_asked_again_when_membership_changed_on_the_way(
    repository: InMemoryRepository,
) -> None:
    log = EventLogService(repository)
    log.append(CHANNEL, message)
    asked = 0

    def removed_after_the_first_look() -> Draft:
        nonlocal asked
        asked += 1
        if asked == 1:
            _append_behind(repository, 2, "member.left", MemberLeftData(user_id="alice"))
            return message()
        raise ChannelNotFoundError

    with pytest.raises(ChannelNotFoundError):
        log.append(CHANNEL, removed_after_the_first_look)
    assert seqs(log) == [1, 2]


def test_companion_writes_land_with_the_event_or_not_at_all(
    repository: InMemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_module, "APPEND_BUDGET_SECONDS", 0.1)
    log = EventLogService(repository)
    row = keys.channel_key("another")

    def count(seq: int) -> Sequence[Write]:
        return [UpdateWrite(Table.CHANNELS, row, Update(set={"last": seq}), Exists("pk"))]

    def draft() -> Draft:
        return Draft(sender=ALICE, data=MessageCreatedData(text="x"), writes=count)

    with pytest.raises(StorageBusyError):
        log.append(CHANNEL, draft)
    assert seqs(log) == []

    repository.put(Table.CHANNELS, {**row})
    assert log.append(CHANNEL, draft).seq == 1
    assert repository.get(Table.CHANNELS, row)["last"] == 1


def test_a_rejected_companion_is_prepared_anew_on_the_current_state(
    repository: InMemoryRepository,
) -> None:
    log = EventLogService(repository)
    row = keys.channel_key("another")
    repository.put(Table.CHANNELS, {**row, "version": 1})
    looks = 0

    def increment() -> Draft:
        nonlocal looks
        looks += 1
        version = repository.get(Table.CHANNELS, row)["version"]
        assert isinstance(version, int)
        if looks == 1:
            repository.put(Table.CHANNELS, {**row, "version": 7})
        put = PutWrite(
            Table.CHANNELS, {**row, "version": version + 1}, Compare("version", "=", version)
        )
        return Draft(
            sender=ALICE,
            data=MessageCreatedData(text="x"),
            writes=lambda _seq: [put],
        )

    log.append(CHANNEL, increment)

    assert repository.get(Table.CHANNELS, row)["version"] == 8
    assert seqs(log) == [1]


def test_many_changes_of_one_state_at_once_all_land(repository: InMemoryRepository) -> None:
    log = EventLogService(repository)
    row = keys.channel_key("another")
    repository.put(Table.CHANNELS, {**row, "version": 0})

    def increment() -> Draft:
        version = repository.get(Table.CHANNELS, row)["version"]
        assert isinstance(version, int)
        put = PutWrite(
            Table.CHANNELS, {**row, "version": version + 1}, Compare("version", "=", version)
        )
        data = MessageCreatedData(text="x")
        return Draft(sender=ALICE, data=data, writes=lambda _seq: [put])

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: log.append(CHANNEL, increment), range(60)))

    assert repository.get(Table.CHANNELS, row)["version"] == 60
    assert seqs(log) == list(range(1, 61))


def test_an_append_that_cannot_win_in_time_says_that_it_is_busy(
    repository: InMemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_module, "APPEND_BUDGET_SECONDS", -1.0)
    log = EventLogService(repository)
    log.append(CHANNEL, message)
    _append_behind(repository, 2, "message.created", MessageCreatedData(text="first"))

    with pytest.raises(StorageBusyError):
        log.append(CHANNEL, message)
    assert seqs(log) == [1, 2]


@pytest.mark.parametrize(
    ("after", "limit", "expected", "has_more"),
    [
        (0, 3, [1, 2, 3], True),
        (3, 2, [4, 5], False),
        (3, 100, [4, 5], False),
        (5, 10, [], False),
        (9, 10, [], False),
    ],
)
def test_a_page_of_the_log_says_whether_there_is_more(
    repository: InMemoryRepository,
    after: int,
    limit: int,
    expected: list[int],
    has_more: bool,
) -> None:
    log = EventLogService(repository)
    for _ in range(5):
        log.append(CHANNEL, message)

    page = log.read(CHANNEL, after=after, limit=limit)

    assert [event.seq for event in page.items] == expected
    assert page.last_seq == 5
    assert page.has_more is has_more


def test_an_event_that_is_no_message_is_not_found_as_one(repository: InMemoryRepository) -> None:
    _append_behind(repository, 1, "member.left", MemberLeftData(user_id="bob"))

    with pytest.raises(MessageNotFoundError):
        EventLogService(repository).get_message(CHANNEL, 1)


def _append_behind(
    repository: InMemoryRepository,
    seq: int,
    event_type: str,
    data: MemberLeftData | ChannelDeletedData | MessageCreatedData,
) -> None:
    """Another process appends: this one's memory of the head does not know."""
    item: Item = {
        **keys.event_key(CHANNEL, seq),
        "type": event_type,
        "created_at": "2026-01-01T00:00:00.000Z",
        "sender_id": "owner",
        "sender_kind": "user",
        "data": data.model_dump(by_alias=False, exclude_none=True),
    }
    repository.put(Table.CHAT_EVENTS, item)
