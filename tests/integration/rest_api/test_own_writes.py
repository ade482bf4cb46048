"""What a call has written, the next one shows, though storage shows the past where it may."""

import pytest
from tests.doubles.yesterday import YesterdaysRepository
from tests.integration.rest_api.client import Client
from tests.integration.rest_api.conftest import Listen, MakeApi

SEEDS = range(5)


@pytest.fixture(params=SEEDS)
def repository(request: pytest.FixtureRequest) -> YesterdaysRepository:
    return YesterdaysRepository(seed=request.param)


@pytest.fixture
def alice(repository: YesterdaysRepository, make_api: MakeApi) -> Client:
    return make_api(repository)


def test_a_channel_is_there_at_once(alice: Client) -> None:
    channel = alice.new_channel("bob")
    alice.patch(f"/v1/channels/{channel}", {"name": "Another"})

    for user in ("alice", "bob"):
        client = alice.as_user(user)
        view = client.get(f"/v1/channels/{channel}").body
        assert (view["name"], view["lastSeq"]) == ("Another", 1)
        assert client.get("/v1/channels").body["items"] == [view]


def test_what_was_said_is_in_the_log_and_on_the_page_at_once(alice: Client) -> None:
    channel = alice.new_channel()
    for number in range(1, 6):
        alice.say(channel)

        log = alice.get(f"/v1/channels/{channel}/events").body
        page = alice.get(f"/v1/channels/{channel}/messages?limit=2").body

        assert [event["seq"] for event in log["items"]] == list(range(1, number + 1))
        assert log["lastSeq"] == number
        assert [message["seq"] for message in page["items"]] == list(range(1, number + 1))[-2:]


def test_edits_reactions_and_deletions_show_at_once(alice: Client) -> None:
    channel = alice.new_channel()
    for seq in (1, 4, 7):
        alice.say(channel, "first")
        path = f"/v1/channels/{channel}/messages/{seq}"

        assert alice.patch(path, {"text": "second"}).body["text"] == "second"
        alice.react(channel, seq, "x")
        shown = alice.get(f"/v1/channels/{channel}/messages").body["items"][-1]
        assert (shown["text"], shown["reactions"]) == ("second", {"x": ["alice"]})
        assert shown == alice.get(path).body

    for seq in (1, 4, 7):
        path = f"/v1/channels/{channel}/messages/{seq}"
        alice.delete(path)
        assert alice.get(path).body["text"] == ""
        assert alice.patch(path, {"text": "third"}).status == 409
        assert alice.react(channel, seq, "y").status == 409


def test_members_marks_and_listeners_show_at_once(alice: Client, listen: Listen) -> None:
    channel = alice.new_channel()
    for user in ("bob", "carol", "dave"):
        alice.put(f"/v1/channels/{channel}/members/{user}", {"role": "member"})
        listen(user, channel)
        seq = alice.say(channel)
        client = alice.as_user(user)
        assert client.put(f"/v1/channels/{channel}/read", {"seq": seq}).status == 204

        members = alice.get(f"/v1/channels/{channel}/members").body["items"]
        listeners = alice.get(f"/v1/channels/{channel}/presence").body["items"]
        assert members[-1]["userId"] == listeners[-1]["userId"] == user
        assert (
            members[-1]["readSeq"] == client.get(f"/v1/channels/{channel}").body["readSeq"] == seq
        )


def test_a_repeated_message_is_answered_with_the_first(alice: Client) -> None:
    channel = alice.new_channel()
    for number in range(5):
        first = alice.post(
            f"/v1/channels/{channel}/messages", {"text": "x", "clientMessageId": str(number)}
        )
        again = alice.post(
            f"/v1/channels/{channel}/messages", {"text": "x", "clientMessageId": str(number)}
        )
        assert (first.status, again.status) == (201, 200)
        assert first.body == again.body
