"""Read marks: forward only, never past the end, told to the others."""

import pytest
from tests.doubles.faults import FailingRepository, Failure
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client, RecordingBroadcaster
from tests.integration.rest_api.conftest import Listen, MakeApi

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import Table, Update


def mark(client: Client, channel: str, seq: object) -> int:
    return client.put(f"/v1/channels/{channel}/read", {"seq": seq}).status


def read_seq(client: Client, channel: str) -> int:
    return int(client.get(f"/v1/channels/{channel}").body["readSeq"])


def test_a_mark_moves_forward_and_never_back(anywhere: Client) -> None:
    channel = anywhere.new_channel()
    for _ in range(3):
        anywhere.say(channel)

    marks = []
    for seq in (2, 1, 2, 3):
        assert mark(anywhere, channel, seq) == 204
        marks.append(read_seq(anywhere, channel))

    assert marks == [2, 2, 2, 3]
    assert anywhere.event_types(channel) == ["message.created"] * 3


def test_a_mark_that_is_stored_is_no_error_although_nobody_can_be_told(
    repository: InMemoryRepository, make_api: MakeApi
) -> None:
    storage = FailingRepository(repository)
    alice = make_api(storage)
    channel = alice.new_channel()
    for _ in range(3):
        alice.say(channel)
    assert mark(alice, channel, 1) == 204
    storage.arm(None)
    assert mark(alice, channel, 2) == 204
    listening = storage.calls.index("query", storage.calls.index("update"))

    storage.arm(Failure(listening + 1))
    assert mark(alice, channel, 3) == 204
    assert storage.has_failed
    assert read_seq(alice, channel) == 3


@pytest.mark.parametrize(
    ("seq", "status"), [(0, 204), (1, 204), (2, 422), (-1, 422), ("1", 422), (1.5, 422)]
)
def test_a_mark_is_within_the_log(alice: Client, seq: object, status: int) -> None:
    channel = alice.new_channel()
    alice.say(channel)

    assert mark(alice, channel, seq) == status


def test_a_stranger_has_no_mark(alice: Client) -> None:
    channel = alice.new_channel()
    alice.say(channel)

    assert mark(alice.as_user("mallory"), channel, 1) == 404


def test_others_hear_of_a_mark_that_moved_and_only_then(
    alice: Client, broadcaster: RecordingBroadcaster, listen: Listen
) -> None:
    channel = alice.new_channel("bob")
    alice.say(channel)
    of_alice, of_bob = listen("alice", channel), listen("bob", channel)

    for _ in range(2):
        mark(alice, channel, 1)

    assert broadcaster.frames_to(of_alice) == []
    assert broadcaster.frames_to(of_bob) == [
        {"type": "read", "channelId": channel, "userId": "alice", "seq": 1}
    ]


def test_who_moves_marks_too_fast_is_told_when_to_come_back_and_no_mark_is_moved(
    alice: Client, repository: InMemoryRepository
) -> None:
    channel = alice.new_channel()
    for _ in range(2):
        alice.say(channel)
    assert mark(alice, channel, 1) == 204
    empty = Update(set={"full_at": epoch_milliseconds() + 60_000})
    repository.update(Table.CHANNELS, keys.rate_key("alice", "read"), empty)

    refused = alice.put(f"/v1/channels/{channel}/read", {"seq": 2})

    assert (refused.status, refused.body["status"]) == (429, 429)
    assert int(refused.headers["retry-after"]) >= 59
    assert read_seq(alice, channel) == 1
    assert mark(alice, channel, 1) == 204


def test_a_mark_teaches_the_channel_its_members_name(alice: Client) -> None:
    channel = alice.new_channel("bob")
    alice.say(channel)

    mark(alice.as_user("bob"), channel, 1)

    members = alice.get(f"/v1/channels/{channel}/members").body["items"]
    assert [member.get("name") for member in members] == ["Alice", "Bob"]
