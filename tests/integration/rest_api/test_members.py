"""Members: roles, limits, and that a channel always has an owner."""

import pytest
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client, RecordingBroadcaster
from tests.integration.rest_api.conftest import Listen, MakeApi

from commons import keys
from commons.dal import Table, Update
from commons.services.connections import ConnectionsService


def put(client: Client, channel: str, user: str, role: str = "member") -> int:
    return client.put(f"/v1/channels/{channel}/members/{user}", {"role": role}).status


def remove(client: Client, channel: str, user: str) -> int:
    return client.delete(f"/v1/channels/{channel}/members/{user}").status


def test_a_member_is_shown_with_role_and_mark(alice: Client) -> None:
    channel = alice.new_channel()
    alice.say(channel)

    member = alice.put(f"/v1/channels/{channel}/members/bob", {"role": "owner"}).body

    assert member.pop("joinedAt").endswith("Z")
    assert member == {"userId": "bob", "role": "owner", "readSeq": 2}


def test_members_come_in_pages_with_the_names_that_are_known(alice: Client) -> None:
    channel = alice.new_channel("bob", "carol")

    first = alice.get(f"/v1/channels/{channel}/members?limit=2").body
    rest = alice.get(f"/v1/channels/{channel}/members?limit=2&cursor={first['nextCursor']}").body

    members = first["items"] + rest["items"]
    assert [(each["userId"], each.get("name")) for each in members] == [
        ("alice", "Alice"),
        ("bob", None),
        ("carol", None),
    ]
    assert rest["nextCursor"] is None


def test_the_same_role_again_writes_no_event(alice: Client) -> None:
    channel = alice.new_channel("bob")

    assert put(alice, channel, "bob") == 200
    assert alice.event_types(channel) == []


def test_a_changed_role_is_an_event(alice: Client) -> None:
    channel = alice.new_channel("bob")

    put(alice, channel, "bob", "owner")

    (event,) = alice.get(f"/v1/channels/{channel}/events").body["items"]
    assert (event["type"], event["data"]) == (
        "member.updated",
        {"userId": "bob", "role": "owner"},
    )


@pytest.mark.parametrize(("user", "status"), [("bob", 403), ("mallory", 404)])
def test_only_owners_add_and_remove_others(alice: Client, user: str, status: int) -> None:
    channel = alice.new_channel("bob", "carol")
    other = alice.as_user(user)

    assert put(other, channel, "dave") == status
    assert put(other, channel, user, "owner") == status
    assert remove(other, channel, "carol") == status


def test_the_last_owner_neither_leaves_nor_is_demoted(alice: Client) -> None:
    channel = alice.new_channel("bob")

    assert remove(alice, channel, "alice") == 409
    assert put(alice, channel, "alice", "member") == 409
    assert alice.event_types(channel) == []


def test_an_owner_leaves_once_there_is_another(alice: Client) -> None:
    channel = alice.new_channel("bob")
    put(alice, channel, "bob", "owner")

    assert remove(alice, channel, "alice") == 204
    assert remove(alice.as_user("bob"), channel, "bob") == 409


def test_removing_who_is_no_member_is_404(alice: Client) -> None:
    channel = alice.new_channel()

    assert remove(alice, channel, "bob") == 404


@pytest.mark.parametrize(
    ("user", "status"),
    [("a" * 128, 200), ("a" * 129, 422), ("a%7Cb%40c", 200), ("%23agent", 422), ("%FF", 422)],
)
def test_user_ids_are_of_a_small_alphabet(alice: Client, user: str, status: int) -> None:
    channel = alice.new_channel()

    assert put(alice, channel, user) == status


def test_a_channel_has_a_thousand_members_at_most(
    alice: Client, repository: InMemoryRepository
) -> None:
    channel = alice.new_channel()
    repository.update(Table.CHANNELS, keys.channel_key(channel), Update(set={"member_count": 999}))

    assert put(alice, channel, "the-1000th") == 200
    assert put(alice, channel, "the-1001st") == 409


def test_a_new_member_reads_all_history(alice: Client) -> None:
    channel = alice.new_channel()
    alice.say(channel, "before")
    put(alice, channel, "bob")

    page = alice.as_user("bob").get(f"/v1/channels/{channel}/messages").body

    assert [message["text"] for message in page["items"]] == ["before"]


def test_removal_ends_subscriptions_and_says_so(
    alice: Client,
    repository: InMemoryRepository,
    broadcaster: RecordingBroadcaster,
    listen: Listen,
) -> None:
    channel = alice.new_channel("bob")
    of_alice, of_bob = listen("alice", channel), listen("bob", channel)

    remove(alice, channel, "bob")

    assert [each.user_id for each in ConnectionsService(repository).subscriptions(channel)] == [
        "alice"
    ]
    assert broadcaster.frames_to(of_bob) == [
        {"type": "unsubscribed", "channelId": channel, "reason": "removed"}
    ]
    assert broadcaster.frames_to(of_alice) == []


def test_unsubscribed_waits_for_the_frames_that_others_were_sending(
    alice: Client,
    repository: InMemoryRepository,
    broadcaster: RecordingBroadcaster,
    listen: Listen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = alice.new_channel("bob")
    of_bob = listen("bob", channel)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        assert ConnectionsService(repository).subscriptions(channel) == []
        assert broadcaster.frames_to(of_bob) == []

    monkeypatch.setattr("commons.services.subscriptions_ending.time.sleep", wait)

    remove(alice, channel, "bob")

    assert waited == [1.0]
    assert [frame["type"] for frame in broadcaster.frames_to(of_bob)] == ["unsubscribed"]


def test_a_removal_that_crashed_half_way_is_finished_by_the_next_call(
    alice: Client,
    repository: InMemoryRepository,
    listen: Listen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = alice.new_channel("bob")
    listen("bob", channel)
    with monkeypatch.context() as crash:
        crash.setattr(ConnectionsService, "remove_user", _crash)
        assert remove(alice, channel, "bob") == 500

    assert remove(alice, channel, "bob") == 404
    assert ConnectionsService(repository).subscriptions(channel) == []


def _crash(*_: object) -> None:
    raise ConnectionError


@pytest.mark.parametrize("most", [41, 10_000])
def test_how_many_members_a_channel_may_have_is_a_parameter(
    repository: InMemoryRepository, make_api: MakeApi, most: int
) -> None:
    alice = make_api(repository, max_members=most)
    channel = alice.new_channel()
    count = Update(set={"member_count": most - 1})
    repository.update(Table.CHANNELS, keys.channel_key(channel), count)

    assert put(alice, channel, "bob") == 200
    assert put(alice, channel, "carol") == 409
