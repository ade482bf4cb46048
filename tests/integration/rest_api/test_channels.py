"""Channels: creation, settings, lists, deletion."""

import pytest
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client, RecordingBroadcaster
from tests.integration.rest_api.conftest import Listen

from commons import keys
from commons.clock import epoch_seconds
from commons.dal import Query, Table
from commons.services.connections import ConnectionsService


def create(client: Client, body: object, key: str | None = None) -> int:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.call("POST", "/v1/channels", body, headers=headers).status


def test_forty_members_may_come_along_and_not_one_more(alice: Client) -> None:
    forty = [f"user-{number}" for number in range(40)]

    assert create(alice, {"name": "n", "members": forty}) == 201
    assert create(alice, {"name": "n", "members": [*forty, "one-more"]}) == 422


@pytest.mark.parametrize(
    ("name", "status"), [("", 422), ("n", 201), ("👍" * 120, 201), ("n" * 121, 422), (7, 422)]
)
def test_a_name_has_1_to_120_characters(alice: Client, name: object, status: int) -> None:
    assert create(alice, {"name": name}) == status


@pytest.mark.parametrize(
    ("agent", "status"),
    [
        ({"modelId": "model-b"}, 201),
        ({"modelId": "another"}, 422),
        ({"maxTokens": 4096}, 201),
        ({"maxTokens": 4097}, 422),
        ({"maxTokens": 0}, 422),
        ({"maxTokens": "5"}, 422),
        ({"temperature": 1}, 201),
        ({"temperature": 1.01}, 422),
        ({"temperature": -0.01}, 422),
        ({"temperature": True}, 422),
        ({"systemPrompt": "👍" * 4000}, 201),
        ({"systemPrompt": "s" * 4001}, 422),
        ({"mode": "sometimes"}, 422),
        ({"unknown": 1}, 422),
    ],
)
def test_agent_settings_have_limits(alice: Client, agent: object, status: int) -> None:
    assert create(alice, {"name": "n", "agent": agent}) == status


def test_an_idempotency_key_makes_one_channel(alice: Client) -> None:
    first = alice.call("POST", "/v1/channels", {"name": "n"}, headers={"Idempotency-Key": "k"})
    again = alice.call("POST", "/v1/channels", {"name": "n"}, headers={"Idempotency-Key": "k"})

    assert (first.status, again.status) == (201, 200)
    assert again.body == first.body
    assert len(alice.get("/v1/channels").body["items"]) == 1


def test_an_idempotency_key_with_another_body_is_a_conflict(alice: Client) -> None:
    create(alice, {"name": "n"}, "k")

    assert create(alice, {"name": "other"}, "k") == 409


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"members": ["bob", "carol"]}, {"members": ["carol", "bob"]}),
        ({"members": ["bob"]}, {"members": ["bob", "alice", "bob"]}),
        ({"members": []}, {}),
        ({"agent": {"temperature": 1}}, {"agent": {"temperature": 1.0, "systemPrompt": None}}),
        ({"agent": {}}, {}),
    ],
)
def test_an_idempotency_key_knows_the_same_request_however_it_is_spelled(
    alice: Client, first: dict[str, object], again: dict[str, object]
) -> None:
    for one, other in ((first, again), (again, first)):
        key = f"key-{one}"
        assert create(alice, {"name": "n", **one}, key) == 201
        assert create(alice, {"name": "n", **other}, key) == 200
        assert create(alice, {"name": "n", **other, "members": ["dave"]}, key) == 409


def test_idempotency_keys_of_two_users_have_nothing_to_do_with_each_other(alice: Client) -> None:
    create(alice, {"name": "n"}, "k")

    assert create(alice.as_user("bob"), {"name": "n"}, "k") == 201


def test_an_idempotency_key_is_forgotten_after_a_day(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(alice, {"name": "n"}, "k")
    tomorrow = epoch_seconds() + 24 * 3_600 + 1

    monkeypatch.setattr("rest_api.services.channels.epoch_seconds", lambda: tomorrow)

    assert create(alice, {"name": "n"}, "k") == 201


@pytest.mark.parametrize(("key", "status"), [("k" * 128, 201), ("k" * 129, 422), ("", 422)])
def test_an_idempotency_key_has_1_to_128_characters(alice: Client, key: str, status: int) -> None:
    assert create(alice, {"name": "n"}, key) == status


def test_an_update_merges_the_agents_fields_and_null_clears_one(alice: Client) -> None:
    channel = alice.new_channel(agent={"systemPrompt": "Be brief.", "maxTokens": 10})

    answer = alice.patch(
        f"/v1/channels/{channel}",
        {"agent": {"systemPrompt": None, "temperature": 0.5, "mode": "off"}},
    )

    assert answer.status == 200
    assert answer.body["agent"] == {
        "mode": "off",
        "modelId": "model-a",
        "maxTokens": 10,
        "temperature": 0.5,
    }


def test_an_update_is_an_event_without_the_system_prompt(alice: Client) -> None:
    channel = alice.new_channel()

    alice.patch(f"/v1/channels/{channel}", {"agent": {"systemPrompt": "secret"}})
    alice.patch(f"/v1/channels/{channel}", {"name": "Other"})

    events = alice.get(f"/v1/channels/{channel}/events").body["items"]
    assert [event["data"] for event in events] == [
        {"agent": {"mode": "always", "modelId": "model-a"}},
        {"name": "Other"},
    ]


def test_the_row_says_which_event_changed_the_agents_mode_last_and_no_answer_does(
    alice: Client, repository: InMemoryRepository
) -> None:
    channel = alice.new_channel()
    path = f"/v1/channels/{channel}"

    def noted() -> object:
        return repository.get(Table.CHANNELS, keys.channel_key(channel)).get(
            "agent_mode_changed_seq"
        )

    at_first = noted()
    alice.patch(path, {"name": "Other"})
    renamed = noted()
    alice.patch(path, {"agent": {"mode": "off"}})
    switched_off = noted()
    changed = alice.patch(path, {"agent": {"mode": "off", "temperature": 0.5}})

    assert (at_first, renamed, switched_off, noted()) == (0, 0, 2, 2)
    seen = [changed.body, alice.get(path).body, *alice.get("/v1/channels").body["items"]]
    assert [name for body in seen for name in body if "changed" in name.lower()] == []


@pytest.mark.parametrize(
    "body",
    [{}, {"name": "Team"}, {"name": None}, {"agent": {}}, {"agent": {"mode": "always"}}],
)
def test_an_update_that_changes_nothing_writes_no_event(alice: Client, body: object) -> None:
    channel = alice.new_channel()

    assert alice.patch(f"/v1/channels/{channel}", body).status == 200
    assert alice.event_types(channel) == []


def test_only_owners_see_the_system_prompt(alice: Client) -> None:
    channel = alice.new_channel("bob", agent={"systemPrompt": "secret"})

    assert alice.get(f"/v1/channels/{channel}").body["agent"]["systemPrompt"] == "secret"
    seen = alice.as_user("bob").get(f"/v1/channels/{channel}").body["agent"]
    assert "systemPrompt" not in seen


@pytest.mark.parametrize(("user", "status"), [("bob", 403), ("mallory", 404)])
def test_only_owners_change_and_delete_a_channel(alice: Client, user: str, status: int) -> None:
    channel = alice.new_channel("bob")
    other = alice.as_user(user)

    assert other.patch(f"/v1/channels/{channel}", {"name": "Mine"}).status == status
    assert other.delete(f"/v1/channels/{channel}").status == status
    assert alice.event_types(channel) == []


def test_two_updates_of_the_agent_at_once_both_count(
    alice: Client, repository: InMemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = alice.new_channel()
    transact = repository.transact
    raced = False

    def raced_transact(writes: object) -> None:
        nonlocal raced
        if not raced:
            raced = True
            alice.patch(f"/v1/channels/{channel}", {"agent": {"maxTokens": 7}})
        transact(writes)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(repository, "transact", raced_transact)

    alice.patch(f"/v1/channels/{channel}", {"agent": {"temperature": 0.5}})

    agent = alice.get(f"/v1/channels/{channel}").body["agent"]
    assert (agent["maxTokens"], agent["temperature"]) == (7, 0.5)


def test_channels_come_in_pages(alice: Client) -> None:
    channels = {alice.new_channel() for _ in range(5)}

    found, cursor = [], ""
    for size in (2, 2, 1):
        page = alice.get(f"/v1/channels?limit=2{cursor}").body
        assert len(page["items"]) == size
        found += [channel["channelId"] for channel in page["items"]]
        cursor = f"&cursor={page['nextCursor']}"

    assert page["nextCursor"] is None
    assert len(found) == 5
    assert set(found) == channels


def test_unread_messages_are_those_of_others_past_the_mark(alice: Client) -> None:
    channel = alice.new_channel("bob")
    bob = alice.as_user("bob")
    for text in ("one", "two", "three"):
        alice.say(channel, text)
    bob.say(channel, "mine")
    bob.react(channel, 3, "👍")
    bob.put(f"/v1/channels/{channel}/read", {"seq": 1})
    alice.delete(f"/v1/channels/{channel}/messages/2")

    seen = bob.get(f"/v1/channels/{channel}").body

    assert (seen["readSeq"], seen["unreadCount"], seen["lastSeq"]) == (1, 1, 6)
    assert bob.get("/v1/channels").body["items"] == [seen]


def test_a_channel_says_when_its_last_event_happened(alice: Client) -> None:
    channel = alice.new_channel("bob")
    bob = alice.as_user("bob")
    empty = alice.get(f"/v1/channels/{channel}").body

    event = alice.post(f"/v1/channels/{channel}/messages", {"text": "one"}).body
    seen = bob.get(f"/v1/channels/{channel}").body
    listed = bob.get("/v1/channels").body["items"]
    renamed = alice.call("PATCH", f"/v1/channels/{channel}", {"name": "other"}).body
    (last,) = alice.get(f"/v1/channels/{channel}/events?after=1").body["items"]

    assert "lastEventAt" not in empty
    assert seen["lastEventAt"] == event["createdAt"]
    assert listed == [seen]
    assert renamed["lastEventAt"] == last["createdAt"]


@pytest.mark.parametrize(("messages", "unread"), [(99, 99), (100, 100), (101, 100)])
def test_more_than_a_hundred_unread_messages_count_as_a_hundred(
    alice: Client, messages: int, unread: int
) -> None:
    channel = alice.new_channel("bob")
    for _ in range(messages):
        alice.say(channel)

    assert alice.as_user("bob").get(f"/v1/channels/{channel}").body["unreadCount"] == unread


def test_deleting_a_channel_leaves_neither_members_nor_subscriptions(
    alice: Client,
    repository: InMemoryRepository,
    broadcaster: RecordingBroadcaster,
    listen: Listen,
) -> None:
    channel = alice.new_channel("bob")
    connection_id = listen("bob", channel)

    alice.delete(f"/v1/channels/{channel}")

    rows = repository.iterate(Query(table=Table.CHANNELS, partition=f"channel#{channel}"))
    assert [row["sk"] for row in rows] == ["meta"]
    assert ConnectionsService(repository).subscriptions(channel) == []
    assert broadcaster.frames_to(connection_id) == [
        {"type": "unsubscribed", "channelId": channel, "reason": "deleted"}
    ]
