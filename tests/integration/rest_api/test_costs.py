"""What others store costs a reader next to nothing."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.doubles.repository import InMemoryRepository
from tests.doubles.sizes import item_size
from tests.integration.rest_api.client import Client
from tests.integration.rest_api.conftest import MakeApi

from commons import keys
from commons.clock import now, rfc3339
from commons.dal import Item, Key, Page, PutWrite, Query, Table, UpdateWrite, Write
from commons.records.event import event_item
from commons.schemas.event import MessageEditedData, Sender

LONG = "😀" * 15_990
CHANNELS = 20
MESSAGES = 100


class MeteredRepository(InMemoryRepository):
    """Counts calls and what they read, and remembers what transactions write."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        self.calls = self.bytes_read = 0
        self.largest_write = 0

    def query(self, query: Query) -> Page:
        self._count_items(super().query(replace(query, where=None, attributes=None)).items)
        return super().query(query)

    def batch_get(
        self, table: Table, keys: Sequence[Key], *, consistent: bool = False
    ) -> list[Item]:
        items = super().batch_get(table, keys, consistent=consistent)
        self._count_items(items)
        return items

    def _count_items(self, read: Sequence[Item]) -> None:
        bytes_read = sum(map(item_size, read))
        with self.tables.lock:
            self.calls += 1
            self.bytes_read += bytes_read

    def transact(self, writes: Sequence[Write]) -> None:
        super().transact(writes)
        for write in writes:
            if isinstance(write, PutWrite):
                self.largest_write = max(self.largest_write, item_size(write.item))
            if isinstance(write, UpdateWrite):
                item = self.find(write.table, write.key) or {}
                self.largest_write = max(self.largest_write, item_size(item))


@pytest.fixture
def metered() -> MeteredRepository:
    return MeteredRepository()


@pytest.fixture
def mallory(metered: MeteredRepository, make_api: MakeApi) -> Client:
    return make_api(metered).as_user("mallory")


def test_a_page_of_channels_full_of_long_edited_messages_is_cheap(
    mallory: Client, metered: MeteredRepository
) -> None:
    alice = mallory.as_user("alice")
    channel = mallory.new_channel("alice")
    for _ in range(MESSAGES):
        seq = mallory.say(channel, LONG)
        mallory.patch(f"/v1/channels/{channel}/messages/{seq}", {"text": f"{LONG}!"})
    # The others are as many messages that are short: what is read is the same.
    for _ in range(CHANNELS - 1):
        other = mallory.new_channel("alice")
        for _ in range(MESSAGES):
            mallory.say(other, "x")
    metered.reset()

    page = alice.get("/v1/channels?limit=100").body

    assert [each["unreadCount"] for each in page["items"]] == [100] * CHANNELS
    assert metered.calls < 10 * CHANNELS
    assert metered.bytes_read < 5_000_000 * CHANNELS / 100


@pytest.mark.parametrize("prompt", ["short", "😀" * 4_000], ids=["prompt", "long prompt"])
def test_channels_that_cost_much_come_in_several_pages(
    mallory: Client, metered: MeteredRepository, prompt: str
) -> None:
    channels = [mallory.new_channel("alice") for _ in range(100)]
    for channel in channels:
        mallory.patch(f"/v1/channels/{channel}", {"agent": {"systemPrompt": prompt}})
        fill(metered, channel, reader="alice")
    alice = mallory.as_user("alice")

    listed: list[str] = []
    pages, cursor = 0, ""
    while cursor is not None:
        metered.reset()
        page = alice.get(f"/v1/channels?limit=100{cursor and f'&cursor={cursor}'}").body
        cursor = page["nextCursor"]
        pages += 1
        listed += [each["channelId"] for each in page["items"]]
        assert {(each["lastSeq"], each["unreadCount"]) for each in page["items"]} == {(502, 0)}
        assert metered.bytes_read < 5_000_000
        assert metered.calls < 10 * len(page["items"])

    assert listed == sorted(channels)
    assert pages < 10


def fill(repository: InMemoryRepository, channel: str, *, reader: str) -> None:
    """500 messages that do not count, and an edit that is as long as one can be."""
    for seq in range(2, 502):
        of_reader: Item = {"sender_id": reader} if seq % 2 else {"sender_id": "x", "redacted": True}
        key = keys.event_key(channel, seq)
        message = {**key, **of_reader, "message_seq": seq, "type": "message.created"}
        repository.tables.store(Table.CHAT_EVENTS, (channel, seq), message)
    edit = event_item(
        channel,
        502,
        sender=Sender(id="mallory", kind="user"),
        data=MessageEditedData(target=2, text=LONG),
        created_at=rfc3339(now()),
    )
    repository.put(Table.CHAT_EVENTS, edit)


def test_deleted_messages_do_not_count_as_unread(mallory: Client) -> None:
    channel = mallory.new_channel("alice")
    seqs = [mallory.say(channel) for _ in range(3)]
    mallory.delete(f"/v1/channels/{channel}/messages/{seqs[1]}")

    view = mallory.as_user("alice").get(f"/v1/channels/{channel}").body

    assert view["unreadCount"] == 2


def test_a_reaction_to_a_long_edited_message_writes_little(
    mallory: Client, metered: MeteredRepository
) -> None:
    channel = mallory.new_channel("alice")
    seq = mallory.say(channel, LONG)
    mallory.patch(f"/v1/channels/{channel}/messages/{seq}", {"text": f"{LONG}!"})
    metered.reset()

    mallory.react(channel, seq, "👍")

    assert metered.largest_write < 1_000
    assert mallory.get(f"/v1/channels/{channel}/messages/{seq}").body["text"] == f"{LONG}!"


def test_an_edit_of_a_message_with_many_reactions_writes_its_text_once(
    mallory: Client, metered: MeteredRepository
) -> None:
    channel = mallory.new_channel("alice")
    seq = mallory.say(channel, LONG)
    for number in range(20):
        mallory.react(channel, seq, str(number))
    metered.reset()

    mallory.patch(f"/v1/channels/{channel}/messages/{seq}", {"text": "short"})

    assert metered.largest_write < 1_000
    message = mallory.get(f"/v1/channels/{channel}/messages/{seq}").body
    assert (message["text"], len(message["reactions"])) == ("short", 20)


class InterruptedRepository(InMemoryRepository):
    """Something happens between the reads of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.deletes: list[Client] = []

    def query(self, query: Query) -> Page:
        page = super().query(query)
        if query.partition.endswith("#state") and self.deletes:
            client = self.deletes.pop()
            channel = query.partition.removesuffix("#state")
            assert client.delete(f"/v1/channels/{channel}/messages/1").status == 204
        return page


def test_a_message_that_is_deleted_while_its_page_is_read_shows_as_deleted(
    make_api: MakeApi,
) -> None:
    interrupted = InterruptedRepository()
    alice = make_api(interrupted)
    channel = alice.new_channel()
    alice.say(channel, "first")
    alice.patch(f"/v1/channels/{channel}/messages/1", {"text": "second"})
    alice.react(channel, 1, "👍")
    interrupted.deletes = [alice]

    (message,) = alice.get(f"/v1/channels/{channel}/messages").body["items"]

    assert message["text"] == ""
    assert message["deletedAt"]
    assert "editedAt" not in message
    assert message["reactions"] == {}
