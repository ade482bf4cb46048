"""Counting unread messages: exact up to a hundred, and bounded whatever lies in the channel."""

from dataclasses import replace

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Page, PutWrite, Query, Table
from commons.records.message_state import MessageState, Reaction
from rest_api.services.unread import UnreadService

CHANNEL = "c" * 22


class CountingRepository(InMemoryRepository):
    """Counts queries, and the items that they read, filtered out or not."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = 0
        self.items_read = 0

    def query(self, query: Query) -> Page:
        self.queries += 1
        self.items_read += len(super().query(replace(query, where=None)).items)
        return super().query(query)

    def add_message(
        self, seq: int, *, sender: str = "alice", deleted: bool = False, reacted: bool = False
    ) -> None:
        self.put(
            Table.CHAT_EVENTS,
            {**keys.event_key(CHANNEL, seq), "message_seq": seq, "sender_id": sender},
        )
        changes: dict[str, object] = {}
        if deleted:
            changes["deleted_at"] = "2026-01-01T00:00:00.000Z"
        if reacted:
            changes["reactions"] = (Reaction(emoji="x", user_ids=("carol",)),)
        if changes:
            write = MessageState(seq=seq).write(CHANNEL, changes)
            assert isinstance(write, PutWrite)
            self.put(write.table, write.item)


@pytest.fixture
def repository() -> CountingRepository:
    return CountingRepository()


def unread(repository: CountingRepository, last_seq: int, read_seq: int = 0) -> int:
    repository.queries = repository.items_read = 0
    return UnreadService(repository).count(CHANNEL, "bob", read_seq=read_seq, last_seq=last_seq)


def test_nothing_is_read_for_who_has_read_all(repository: CountingRepository) -> None:
    repository.add_message(1)

    assert unread(repository, 1, read_seq=1) == 0
    assert repository.queries == 0


def test_five_thousand_messages_with_reactions_cost_what_five_hundred_do(
    repository: CountingRepository,
) -> None:
    for seq in range(1, 5_001):
        repository.add_message(seq, reacted=True)

    assert unread(repository, 5_000) == 100
    assert repository.queries == 2
    assert repository.items_read == 500 + 100


def test_as_many_deletions_are_looked_up_as_it_takes_to_find_a_hundred(
    repository: CountingRepository,
) -> None:
    for seq in range(1, 1_001):
        repository.add_message(seq, deleted=seq > 900, reacted=True)

    assert unread(repository, 1_000) == 100
    assert repository.items_read == 500 + 200


def test_where_all_are_deleted_five_hundred_are_looked_up(repository: CountingRepository) -> None:
    for seq in range(1, 1_001):
        repository.add_message(seq, deleted=seq > 440)

    assert unread(repository, 1_000) == 0
    assert repository.queries == 1 + 5
    assert repository.items_read == 500 + 500


@pytest.mark.parametrize(("others", "count"), [(0, 0), (1, 1), (99, 99), (100, 100), (101, 100)])
def test_only_messages_of_others_count_up_to_a_hundred(
    repository: CountingRepository, others: int, count: int
) -> None:
    for seq in range(1, 251):
        repository.add_message(seq, sender="alice" if seq <= others else "bob", reacted=True)

    assert unread(repository, 250) == count


def test_deleted_ones_among_them_do_not_count(repository: CountingRepository) -> None:
    for seq in range(1, 151):
        repository.add_message(seq, deleted=seq % 3 == 0, reacted=seq % 2 == 0)

    assert unread(repository, 150, read_seq=30) == 80
    assert unread(repository, 150, read_seq=149) == 0
