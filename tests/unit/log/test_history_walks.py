"""A walk through a channel shows each message once, while the index lags, at 6 calls a page."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.clock import now, rfc3339
from commons.dal import Item, Key, Page, Query, Table
from commons.services.history import HistoryService
from commons.services.message_finder import INDEX_LAG

CHANNEL = "c" * 22
CALLS = 5
"""And one that asks whether the caller may."""


class LaggingRepository(InMemoryRepository):
    """Its index lacks some messages; it counts calls."""

    def __init__(self) -> None:
        super().__init__()
        self.not_indexed: set[object] = set()
        self.calls = 0

    def query(self, query: Query) -> Page:
        self.calls += 1
        if query.index is None:
            return super().query(query)
        page = super().query(replace(query, limit=None))
        items = [item for item in page.items if item["seq"] not in self.not_indexed]
        return Page(items[: query.limit])

    def batch_get(
        self, table: Table, keys: Sequence[Key], *, consistent: bool = False
    ) -> list[Item]:
        self.calls += 1
        assert len(keys) <= 100
        return super().batch_get(table, keys, consistent=consistent)

    def fill(self, kinds: list[str], *, young: int) -> list[int]:
        """Events of those kinds, the last of them younger than the index may lag."""
        old, recent = rfc3339(now() - 10 * INDEX_LAG), rfc3339(now() + timedelta(minutes=10))
        messages = []
        for seq, kind in enumerate(kinds, start=1):
            event: Item = {
                **keys.event_key(CHANNEL, seq),
                "type": kind,
                "created_at": recent if seq > len(kinds) - young else old,
                "sender_id": "alice",
                "sender_kind": "user",
                "data": {"text": str(seq)},
            }
            if kind == "message.created":
                event["message_seq"] = seq
                messages.append(seq)
            self.put(Table.CHAT_EVENTS, event)
        return messages


@pytest.fixture
def lagging() -> LaggingRepository:
    return LaggingRepository()


def walk(
    repository: LaggingRepository, limit: int, *, ascending: bool
) -> Iterator[tuple[list[int], bool]]:
    """The numbers on each page, and whether a page says that another follows."""
    history = HistoryService(repository)
    at: int | None = 0 if ascending else None
    while True:
        repository.calls = 0
        page = (
            history.page(CHANNEL, limit=limit, after=at)
            if ascending
            else history.page(CHANNEL, limit=limit, before=at)
        )
        assert repository.calls <= CALLS
        assert len(page.items) <= limit
        yield [message.seq for message in page.items], page.reached is not None
        if page.reached is None:
            return
        assert at is None or page.reached != at, "a walk gets on"
        at = page.reached


def kinds_of(rng: random.Random) -> list[str]:
    kinds: list[str] = []
    while len(kinds) < rng.choice([5, 80, 700, 1_500]):
        kinds += ["message.created"] * rng.randint(1, 4)
        kinds += ["reaction.added"] * rng.choice([0, 1, 30, 200, 700])
    return kinds


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("seed", range(40))
def test_a_walk_shows_each_message_once_and_in_order(
    lagging: LaggingRepository, seed: int, *, ascending: bool
) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test's
    kinds = kinds_of(rng)
    young = rng.choice([0, 3, 100, 600, len(kinds)])
    messages = lagging.fill(kinds, young=young)
    lagging.not_indexed = {
        seq for seq in messages if seq > len(kinds) - young and rng.random() < rng.choice([0.3, 1])
    }

    for limit in (1, 3, 50, 100):
        pages = list(walk(lagging, limit, ascending=ascending))

        seen = [seq for page, _ in (pages if ascending else reversed(pages)) for seq in page]
        assert seen == messages, (limit, young)


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_pages_are_full_where_the_index_had_time_to_follow(
    lagging: LaggingRepository, seed: int, *, ascending: bool
) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test's
    lagging.fill(kinds_of(rng), young=0)

    for limit in (1, 3, 50):
        *others, (_, follows) = walk(lagging, limit, ascending=ascending)

        assert all(len(page) == limit and follows for page, follows in others)
        assert not follows


def test_a_page_before_three_thousand_reactions_of_a_minute_is_exact(
    lagging: LaggingRepository,
) -> None:
    lagging.fill(["message.created"] + ["reaction.added"] * 3_000, young=3_001)

    assert list(walk(lagging, 50, ascending=True)) == [([1], False)]
    assert [page for page, _ in walk(lagging, 50, ascending=False)] == [[1]]


def test_a_message_that_the_index_lacks_shows_on_the_newest_page(
    lagging: LaggingRepository,
) -> None:
    kinds = ["message.created"] * 3 + ["reaction.added"] * 26
    lagging.fill(kinds, young=len(kinds))
    lagging.not_indexed = {3}

    assert list(walk(lagging, 1, ascending=False)) == [([3], True), ([2], True), ([1], False)]
