"""Counting unread messages: exact up to a hundred, and bounded whatever lies in the channel."""

from dataclasses import replace

import pytest
from tests.doubles.repository import InMemoryRepository
from tests.doubles.sizes import item_size

from commons import keys
from commons.dal import Item, Page, Query, Table
from rest_api.services.unread import UnreadService

CHANNEL = "c" * 22


class CountingRepository(InMemoryRepository):
    """Counts queries, and the items that they read, filtered out or not."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = 0
        self.items_read = 0
        self.bytes_read = 0

    def query(self, query: Query) -> Page:
        self.queries += 1
        read = super().query(replace(query, where=None, attributes=None)).items
        self.items_read += len(read)
        self.bytes_read += sum(map(item_size, read))
        return super().query(query)

    def add_message(self, seq: int, *, sender: str = "alice", deleted: bool = False) -> None:
        message: Item = {**keys.event_key(CHANNEL, seq), "message_seq": seq, "sender_id": sender}
        if deleted:
            message["redacted"] = True
        self.put(Table.CHAT_EVENTS, {**message, "text": "x" * 1_000})


@pytest.fixture
def repository() -> CountingRepository:
    return CountingRepository()


def unread(repository: CountingRepository, last_seq: int, read_seq: int = 0) -> int:
    repository.queries = repository.items_read = 0
    unread = UnreadService(repository)
    return unread.count(CHANNEL, "bob", read_seq=read_seq, last_seq=last_seq).count


def test_nothing_is_read_for_who_has_read_all(repository: CountingRepository) -> None:
    repository.add_message(1)

    assert unread(repository, 1, read_seq=1) == 0
    assert repository.queries == 0


def test_a_hundred_newest_unread_messages_settle_it_in_one_query(
    repository: CountingRepository,
) -> None:
    for seq in range(1, 5_001):
        repository.add_message(seq)

    assert unread(repository, 5_000) == 100
    assert repository.queries == 1
    assert repository.items_read == 100


def test_where_deleted_ones_are_among_them_five_hundred_are_looked_at(
    repository: CountingRepository,
) -> None:
    for seq in range(1, 1_001):
        repository.add_message(seq, deleted=seq > 440)

    assert unread(repository, 1_000) == 0
    assert repository.queries == 2
    assert repository.items_read == 500


def test_exactly_the_newest_five_hundred_count(repository: CountingRepository) -> None:
    for seq in range(1, 1_001):
        repository.add_message(seq, deleted=seq != 501)

    assert unread(repository, 1_000) == 1

    repository.add_message(501, deleted=True)
    repository.add_message(500)

    assert unread(repository, 1_000) == 0


def test_what_is_counted_is_small_whatever_the_messages_hold(
    repository: CountingRepository,
) -> None:
    for seq in range(1, 601):
        repository.add_message(seq, deleted=True, sender="0" * 36)

    unread(repository, 600)

    assert repository.bytes_read < 60_000


@pytest.mark.parametrize(("others", "count"), [(0, 0), (1, 1), (99, 99), (100, 100), (101, 100)])
def test_only_messages_of_others_count_up_to_a_hundred(
    repository: CountingRepository, others: int, count: int
) -> None:
    for seq in range(1, 251):
        repository.add_message(seq, sender="alice" if seq <= others else "bob")

    assert unread(repository, 250) == count


def test_deleted_ones_among_them_do_not_count(repository: CountingRepository) -> None:
    for seq in range(1, 151):
        repository.add_message(seq, deleted=seq % 3 == 0)

    assert unread(repository, 150, read_seq=30) == 80
    assert unread(repository, 150, read_seq=149) == 0
