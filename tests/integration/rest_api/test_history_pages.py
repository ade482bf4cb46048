"""Pages of messages: full whatever lies between, flat in calls, with cursors that hold."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from typing import Any
from unittest.mock import ANY

import pytest
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client, walk
from tests.integration.rest_api.conftest import MakeApi

from commons.clock import now
from commons.dal import IRepository, Page, Query
from commons.services import message_finder

CALLS = ("get", "find", "batch_get", "query", "put", "update", "delete", "transact")


class CountingRepository:
    """Passes every call on and keeps its name."""

    def __init__(self, repository: IRepository) -> None:
        self._repository = repository
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in CALLS:
            self.calls.append(name)
        return getattr(self._repository, name)


class LaggingRepository(InMemoryRepository):
    """Its index does not hold some messages yet."""

    def __init__(self) -> None:
        super().__init__()
        self.not_indexed: set[int] = set()
        self.queries = 0

    def query(self, query: Query) -> Page:
        self.queries += 1
        if query.index is None:
            return super().query(query)
        page = super().query(replace(query, limit=None))
        items = [item for item in page.items if item["seq"] not in self.not_indexed]
        return Page(items[: query.limit])


@pytest.fixture
def lagging() -> LaggingRepository:
    return LaggingRepository()


def noise(client: Client, channel: str, count: int, *, target: int) -> None:
    """Events that are no messages: a reaction comes and goes."""
    path = f"/v1/channels/{channel}/messages/{target}/reactions/x"
    for number in range(count):
        client.call("PUT" if number % 2 == 0 else "DELETE", path)


def page(client: Client, channel: str, query: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/channels/{channel}/messages?{query}").body
    return found


def seqs(found: dict[str, Any]) -> list[int]:
    return [message["seq"] for message in found["items"]]


def walked(client: Client, path: str) -> list[int]:
    return [message["seq"] for items in walk(client, path) for message in items]


@pytest.fixture
def sparse(alice: Client) -> tuple[str, list[int]]:
    """A channel of 12 messages with forty other events after each."""
    channel = alice.new_channel()
    messages = []
    for _ in range(12):
        messages.append(alice.say(channel))
        noise(alice, channel, 40, target=messages[0])
    return channel, messages


def test_a_page_is_full_whatever_lies_between(alice: Client, sparse: tuple[str, list[int]]) -> None:
    channel, messages = sparse

    newest = page(alice, channel, "limit=10")
    oldest = page(alice, channel, "limit=10&after=0")
    middle = page(alice, channel, f"limit=10&before={messages[11]}")

    assert seqs(newest) == messages[2:]
    assert seqs(oldest) == messages[:10]
    assert seqs(middle) == messages[1:11]


def test_a_page_costs_at_most_six_calls_however_long_the_log_is(
    repository: InMemoryRepository, make_api: MakeApi, sparse: tuple[str, list[int]]
) -> None:
    channel, messages = sparse
    counting = CountingRepository(repository)
    client = make_api(counting)

    assert seqs(page(client, channel, "limit=10")) == messages[2:]

    assert len(counting.calls) <= 6


def test_cursors_lead_through_a_sparse_log_in_both_directions(
    alice: Client, sparse: tuple[str, list[int]]
) -> None:
    channel, messages = sparse

    path = f"/v1/channels/{channel}/messages?limit=5"
    older: list[int] = []
    for items in walk(alice, path):
        older = [message["seq"] for message in items] + older
    newer = walked(alice, f"{path}&after=0")

    assert older == messages
    assert newer == messages


def test_a_walk_reaches_messages_that_the_index_does_not_hold_yet(
    lagging: LaggingRepository, make_api: MakeApi
) -> None:
    client = make_api(lagging)
    channel = client.new_channel()
    first = client.say(channel)
    messages = [first]
    for _ in range(4):
        noise(client, channel, 150, target=first)
        messages.append(client.say(channel))
    noise(client, channel, 150, target=first)

    for held in range(5):
        lagging.not_indexed = set(messages[held:])
        for limit in (1, 2, 4, 5, 6):
            path = f"/v1/channels/{channel}/messages?limit={limit}&after=0"
            assert walked(client, path) == messages, (held, limit)
    lagging.not_indexed = {messages[2]}
    assert walked(client, path) == messages


def test_the_end_of_a_walk_costs_one_look_at_the_head_when_the_index_had_time_to_follow(
    lagging: LaggingRepository, make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_api(lagging)
    channel = client.new_channel()
    seq = client.say(channel)
    noise(client, channel, 500, target=seq)
    monkeypatch.setattr(message_finder, "now", lambda: now() + 2 * message_finder.INDEX_LAG)
    lagging.queries = 0

    assert page(client, channel, "after=0") == {"items": [ANY], "nextCursor": None}

    assert lagging.queries == len(["log", "index", "head", "states"])


def test_messages_are_shown_with_their_edits_however_much_happened_to_others(
    lagging: LaggingRepository, make_api: MakeApi
) -> None:
    client = make_api(lagging)
    channel = client.new_channel()
    count = 30
    for _ in range(count):
        client.say(channel)
        noise(client, channel, 30, target=1)
    messages = [1 + 31 * number for number in range(count)]
    for seq in messages:
        answer = client.patch(f"/v1/channels/{channel}/messages/{seq}", {"text": "👍" * 16_000})
        assert answer.status == 200
    # Those that the index does not hold make the states' page end between those that it holds.
    lagging.not_indexed = set(messages[5:25])

    for query in ("limit=100", "limit=100&after=0"):
        for items in walk(client, f"/v1/channels/{channel}/messages?{query}"):
            assert all(message.get("editedAt") for message in items)


def test_a_full_last_page_has_no_cursor(alice: Client, sparse: tuple[str, list[int]]) -> None:
    channel, _ = sparse

    assert page(alice, channel, "limit=12")["nextCursor"] is None
    assert page(alice, channel, "limit=11")["nextCursor"] is not None


def test_an_empty_channel_has_an_empty_page(alice: Client) -> None:
    channel = alice.new_channel()

    assert page(alice, channel, "") == {"items": [], "nextCursor": None}
    assert page(alice, channel, "before=1") == {"items": [], "nextCursor": None}
    assert page(alice, channel, "after=1000000000000") == {"items": [], "nextCursor": None}


def test_ones_own_post_shows_behind_a_burst_of_reactions(alice: Client) -> None:
    channel = alice.new_channel()
    seq = alice.say(channel)
    noise(alice, channel, 24, target=seq)

    assert seqs(page(alice, channel, "limit=1")) == [seq]


def test_a_page_of_long_messages_ends_before_a_megabyte(alice: Client) -> None:
    channel = alice.new_channel()
    texts = 30
    for _ in range(texts):
        alice.say(channel, "👍" * 16_000)

    pages = list(walk(alice, f"/v1/channels/{channel}/messages?limit=100&after=0"))

    assert len(pages) > 1
    assert sum(map(len, pages)) == texts
    assert all(len(json.dumps(items, ensure_ascii=False).encode()) < 1_100_000 for items in pages)


def test_a_page_of_events_ends_before_a_megabyte(alice: Client) -> None:
    channel = alice.new_channel()
    for _ in range(12):
        alice.say(channel, "\x01" * 16_000)

    answer = alice.get(f"/v1/channels/{channel}/events")

    assert len(answer.text.encode()) < 1_100_000
    assert answer.body["hasMore"] is True
    assert answer.body["lastSeq"] == 12
    rest = alice.get(f"/v1/channels/{channel}/events?after={len(answer.body['items'])}").body
    assert rest["hasMore"] is False


@pytest.mark.parametrize("path", ["messages", "members", "events"])
@pytest.mark.parametrize(
    ("limit", "status"),
    [("0", 422), ("1", 200), ("100", 200), ("101", 422), ("ten", 422), ("", 422), ("1.0", 422)],
)
def test_a_limit_is_from_1_to_100(alice: Client, path: str, limit: str, status: int) -> None:
    channel = alice.new_channel()

    assert alice.get(f"/v1/channels/{channel}/{path}?limit={limit}").status == status


@pytest.mark.parametrize(
    "query",
    ["before=1&after=1", "before=x", "after=-1", "limt=5", "after=1&after=2", "limit=%EF%BC%95"],
)
def test_a_wrong_query_is_422(alice: Client, query: str) -> None:
    channel = alice.new_channel()

    answer = alice.get(f"/v1/channels/{channel}/messages?{query}")

    assert answer.status == 422
    assert answer.body["errors"]


@pytest.fixture
def cursor(alice: Client) -> tuple[str, str]:
    """A channel, and a cursor of its messages before the fifth."""
    channel = alice.new_channel("bob")
    for _ in range(5):
        alice.say(channel)
    return channel, page(alice, channel, "limit=2&before=5")["nextCursor"]


def test_a_cursor_goes_on_with_the_query_repeated_or_left_out(
    alice: Client, cursor: tuple[str, str]
) -> None:
    channel, value = cursor

    assert seqs(page(alice, channel, f"limit=2&cursor={value}")) == [1, 2]
    assert seqs(page(alice, channel, f"limit=2&before=5&cursor={value}")) == [1, 2]


@pytest.mark.parametrize("query", ["before=4", "after=5"])
def test_a_cursor_of_another_query_is_400(
    alice: Client, cursor: tuple[str, str], query: str
) -> None:
    channel, value = cursor

    answer = alice.get(f"/v1/channels/{channel}/messages?{query}&cursor={value}")

    assert answer.status == 400


def test_a_cursor_of_another_channel_or_list_is_400(alice: Client, cursor: tuple[str, str]) -> None:
    channel, value = cursor
    other = alice.new_channel()

    assert alice.get(f"/v1/channels/{other}/messages?cursor={value}").status == 400
    assert alice.get(f"/v1/channels/{channel}/members?cursor={value}").status == 400
    assert alice.get(f"/v1/channels?cursor={value}").status == 400


def test_a_cursor_of_another_users_channels_is_400(alice: Client) -> None:
    for _ in range(2):
        alice.new_channel("bob")
    value = alice.get("/v1/channels?limit=1").body["nextCursor"]

    assert alice.get(f"/v1/channels?cursor={value}").status == 200
    assert alice.as_user("bob").get(f"/v1/channels?cursor={value}").status == 400


def test_a_cursor_with_any_bit_changed_is_400(alice: Client, cursor: tuple[str, str]) -> None:
    channel, value = cursor
    raw = urlsafe_b64decode(value + "=" * (-len(value) % 4))

    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 1
        forged = urlsafe_b64encode(bytes(changed)).decode().rstrip("=")
        answer = alice.get(f"/v1/channels/{channel}/messages?cursor={forged}")
        assert answer.status == 400, position


@pytest.mark.parametrize("value", ["", "x", "*", "a" * 5_000, "%F0%9F%91%8D", "A" * 40, "A=B"])
def test_what_is_no_cursor_is_400(alice: Client, value: str) -> None:
    channel = alice.new_channel()

    for path in ("messages", "members"):
        assert alice.get(f"/v1/channels/{channel}/{path}?cursor={value}").status == 400
