"""After `channel.deleted` a channel is closed to everybody, whatever failed while it was cleared."""

from collections.abc import Sequence

import pytest
from tests.doubles.repository import InMemoryRepository
from tests.integration.log.unreliable import UnreliableRepository
from tests.integration.rest_api.client import Client, RecordingBroadcaster
from tests.integration.rest_api.conftest import MakeApi

from commons import keys
from commons.clock import epoch_seconds
from commons.dal import IRepository, Item, Key, NotExists, Query, Table, Write
from commons.dynamodb.exceptions import ConditionFailedError, StorageBusyError
from commons.records.event import is_event
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.closing import ClosingService
from commons.services.event_log import EventLogService
from commons.services.subscriptions_ending import SubscriptionsEndingService


class FailsAt(UnreliableRepository):
    """Is too busy for its n-th writing call, and passes every other on."""

    def __init__(self, inner: IRepository) -> None:
        super().__init__(inner)
        self.fail_at = 0
        self.writes = 0

    def _count(self) -> None:
        self.writes += 1
        if self.writes == self.fail_at:
            raise StorageBusyError("busy")

    def batch_delete(self, table: Table, keys: Sequence[Key]) -> None:
        self._count()
        super().batch_delete(table, keys)

    def transact(self, writes: Sequence[Write]) -> None:
        self._count()
        super().transact(writes)


def everything(user: Client, channel: str) -> dict[str, int]:
    """What a member may ask of a channel, and the status of each answer."""
    at = f"/v1/channels/{channel}"
    message = {"text": "I am not gone"}
    calls: dict[str, tuple[str, str, object]] = {
        "get": ("GET", at, None),
        "post": ("POST", f"{at}/messages", message),
        "post with an id": ("POST", f"{at}/messages", {**message, "clientMessageId": "new"}),
        "reply to nothing": ("POST", f"{at}/messages", {**message, "replyTo": 99}),
        "replay": ("POST", f"{at}/messages", {"text": "first", "clientMessageId": "m1"}),
        "edit": ("PATCH", f"{at}/messages/1", message),
        "delete a message": ("DELETE", f"{at}/messages/1", None),
        "react": ("PUT", f"{at}/messages/1/reactions/x", None),
        "mark read": ("PUT", f"{at}/read", {"seq": 1}),
        "cancel": ("POST", f"{at}/generations/cancel", {}),
        "cancel one": ("POST", f"{at}/generations/cancel", {"replyTo": 1}),
        "regenerate": ("POST", f"{at}/messages/2/regenerate", None),
        "events": ("GET", f"{at}/events", None),
        "messages": ("GET", f"{at}/messages", None),
        "members": ("GET", f"{at}/members", None),
        "join": ("PUT", f"{at}/members/eve", {"role": "member"}),
        "leave": ("DELETE", f"{at}/members/{user.user}", None),
        "rename": ("PATCH", at, {"name": "other"}),
        "delete": ("DELETE", at, None),
    }
    return {name: user.call(*call).status for name, call in calls.items()}


def log_of(repository: InMemoryRepository, channel: str) -> list[Item]:
    items = repository.all_items(Table.CHAT_EVENTS)
    return sorted(
        (item for item in items if item["channel_id"] == channel), key=lambda item: str(item["seq"])
    )


@pytest.mark.parametrize("fail_at", range(1, 6))
def test_a_channel_is_closed_for_ever_whatever_failed_while_it_was_cleared(
    repository: InMemoryRepository, make_api: MakeApi, fail_at: int
) -> None:
    failing = FailsAt(repository)
    alice, bob = make_api(failing), make_api(failing).as_user("bob")
    others = make_api(UnreliableRepository(repository)).as_user("bob")
    channel = alice.new_channel("bob")
    bob.say(channel, "first", clientMessageId="m1")
    others.say(channel, "second")
    failing.writes, failing.fail_at = 0, fail_at

    answer = alice.delete(f"/v1/channels/{channel}")

    if answer.status != 204:
        # The first transaction is lost to the head that `others` left behind.
        assert answer.status == 429
        assert fail_at <= 2
        assert alice.delete(f"/v1/channels/{channel}").status == 204
    cold = make_api(UnreliableRepository(repository))
    for user in (
        bob,
        others,
        alice,
        cold,
        make_api(UnreliableRepository(repository)).as_user("bob"),
    ):
        for _ in range(2):
            answers = everything(user, channel)
            assert answers == dict.fromkeys(answers, 404)
    assert [item.get("type") for item in log_of(repository, channel)] == [
        "message.created",
        "message.created",
        "channel.deleted",
        None,
    ]


def test_storage_itself_refuses_what_comes_after_the_end(
    repository: InMemoryRepository, alice: Client
) -> None:
    channel = alice.new_channel("bob")
    alice.say(channel)
    alice.delete(f"/v1/channels/{channel}")

    for seq in (2, 3):
        with pytest.raises(ConditionFailedError):
            repository.put(
                Table.CHAT_EVENTS,
                {**keys.event_key(channel, seq)},
                condition=NotExists("channel_id"),
            )


def test_the_seal_is_no_event_to_whoever_reads_a_closed_log(
    repository: InMemoryRepository, alice: Client
) -> None:
    channel = alice.new_channel("bob")
    alice.say(channel)
    alice.delete(f"/v1/channels/{channel}")
    assert not is_event(log_of(repository, channel)[-1])

    log = EventLogService(repository)
    pages = [log.read(channel, after=after, limit=limit) for after in (0, 1, 2) for limit in (1, 9)]

    assert [[event.seq for event in page.items] for page in pages] == [
        [1],
        [1, 2],
        [2],
        [2],
        [],
        [],
    ]
    assert [page.last_seq for page in pages] == [2] * 6
    assert [page.has_more for page in pages] == [True, False, False, False, False, False]


def test_the_timer_of_a_deletion_is_written_with_it(
    repository: InMemoryRepository, alice: Client
) -> None:
    channel = alice.new_channel("bob")
    alice.delete(f"/v1/channels/{channel}")

    rows = [
        row for row in repository.all_items(Table.CHANNELS) if str(row["pk"]).startswith("timer#")
    ]

    (row,) = rows
    assert (row["kind"], row["subject"]) == ("channel.clear", channel)
    assert 0 < int(str(row["due"])) - epoch_seconds() <= 60


def test_what_was_left_is_cleared_by_clearing_again(
    repository: InMemoryRepository, make_api: MakeApi
) -> None:
    failing = FailsAt(repository)
    alice = make_api(failing)
    channel = alice.new_channel("bob")
    failing.writes, failing.fail_at = 0, 3
    assert alice.delete(f"/v1/channels/{channel}").status == 204

    broadcasts = ChannelBroadcastService(repository, broadcaster=RecordingBroadcaster())
    ending = SubscriptionsEndingService(repository, broadcasts=broadcasts)
    ClosingService(repository, subscriptions=ending).clear(channel)

    rows = repository.iterate(Query(table=Table.CHANNELS, partition=f"channel#{channel}"))
    assert [row["sk"] for row in rows] == ["meta"]
    assert alice.as_user("bob").get("/v1/channels").body["items"] == []
