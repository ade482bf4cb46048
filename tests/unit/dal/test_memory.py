"""What the in-memory repository promises beyond the contract, and where moto is not DynamoDB."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from tests.doubles.repository import InMemoryRepository

from commons.dal import (
    Compare,
    ConditionCheck,
    Exists,
    Item,
    NotExists,
    PutWrite,
    Query,
    Table,
    Update,
    UpdateWrite,
)
from commons.dynamodb.exceptions import (
    ConditionFailedError,
    RepositoryError,
    TransactionCanceledError,
)
from commons.keys import channel_key, channel_partition, event_key, member_key

THREADS = 8
ROUNDS = 50


@pytest.fixture(autouse=True)
def _threads_change_often() -> Iterator[None]:
    """Else a call is over before another thread has its turn, and no lock is missed."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def at_once(work: Callable[[int], object]) -> list[object]:
    """What each thread's call returned; all start together."""
    barrier = Barrier(THREADS)

    def start(number: int) -> object:
        barrier.wait(timeout=10)
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(start, range(THREADS)))


def test_of_many_writers_of_one_number_one_wins_and_all_others_see_it(
    repository: InMemoryRepository,
) -> None:
    for seq in range(1, ROUNDS + 1):

        def write(writer: int, seq: int = seq) -> object:
            item: Item = {**event_key("c", seq), "writer": writer}
            try:
                repository.put(Table.CHAT_EVENTS, item, condition=NotExists("channel_id"))
            except ConditionFailedError as error:
                return (error.item or {})["writer"]
            return writer

        winners = at_once(write)
        stored = repository.get(Table.CHAT_EVENTS, event_key("c", seq))["writer"]
        assert winners == [stored] * THREADS


def test_no_increment_is_lost(repository: InMemoryRepository) -> None:
    def add(_: int) -> None:
        for _round in range(ROUNDS):
            repository.update(Table.CHANNELS, channel_key("c"), Update(add={"count": 1}))

    at_once(add)

    assert repository.get(Table.CHANNELS, channel_key("c"))["count"] == THREADS * ROUNDS


def test_of_many_transactions_over_one_limit_as_many_win_as_fit(
    repository: InMemoryRepository,
) -> None:
    for channel in map(str, range(ROUNDS)):
        repository.put(Table.CHANNELS, {**channel_key(channel), "members": 0})

        def join(number: int, channel: str = channel) -> bool:
            try:
                repository.transact(
                    [
                        UpdateWrite(
                            Table.CHANNELS,
                            channel_key(channel),
                            Update(add={"members": 1}),
                            Compare("members", "<", 3),
                        ),
                        PutWrite(Table.CHANNELS, {**member_key(channel, str(number))}),
                    ]
                )
            except TransactionCanceledError:
                return False
            return True

        assert at_once(join).count(True) == 3
        rows = repository.query(Query(table=Table.CHANNELS, partition=channel_partition(channel)))
        assert repository.get(Table.CHANNELS, channel_key(channel))["members"] == 3
        assert len(rows.items) == 4


def test_a_reader_sees_a_transaction_whole_or_not_at_all(repository: InMemoryRepository) -> None:
    def work(number: int) -> bool:
        if number == 0:
            for value in range(ROUNDS):
                repository.transact(
                    [
                        PutWrite(Table.CHANNELS, {"pk": "p", "sk": "a", "value": value}),
                        PutWrite(Table.CHANNELS, {"pk": "p", "sk": "b", "value": value}),
                    ]
                )
            return True
        for _ in range(ROUNDS):
            items = repository.query(Query(table=Table.CHANNELS, partition="p")).items
            if len({item["value"] for item in items}) > 1 or len(items) == 1:
                return False
        return True

    assert all(at_once(work))


@pytest.mark.parametrize(
    "condition",
    [Compare("count", "<", "6"), Compare("count", ">", "4"), Compare("open", "=", 1)],
    ids=str,
)
def test_values_of_different_types_are_neither_equal_nor_in_any_order(
    repository: InMemoryRepository, condition: Compare
) -> None:
    repository.put(Table.CHANNELS, {**channel_key("c"), "count": 5, "open": True})

    with pytest.raises(ConditionFailedError):
        repository.delete(Table.CHANNELS, channel_key("c"), condition=condition)


def test_a_page_that_reaches_its_limit_has_a_last_key_though_nothing_may_be_left(
    repository: InMemoryRepository,
) -> None:
    repository.put(Table.CHAT_EVENTS, {**event_key("c", 1)})
    query = Query(table=Table.CHAT_EVENTS, partition="c", limit=1)

    assert repository.query(query).last_key == event_key("c", 1)


def test_a_transaction_on_more_than_4_mb_of_items_is_refused(
    repository: InMemoryRepository,
) -> None:
    writes = [
        PutWrite(Table.CHAT_EVENTS, {**event_key("c", seq), "text": "x" * 350_000})
        for seq in range(1, 14)
    ]

    repository.transact(writes[:11])
    with pytest.raises(RepositoryError):
        repository.transact(writes)


def test_a_transaction_that_only_checks_changes_nothing(repository: InMemoryRepository) -> None:
    item: Item = {**channel_key("c"), "tags": ["a"]}
    repository.put(Table.CHANNELS, item)

    repository.transact([ConditionCheck(Table.CHANNELS, channel_key("c"), Exists("pk"))])
    repository.transact([ConditionCheck(Table.CHANNELS, channel_key("d"), NotExists("pk"))])

    assert repository.get(Table.CHANNELS, channel_key("c")) == item
    assert repository.find(Table.CHANNELS, channel_key("d")) is None
