"""The main job: a channel, its members, messages and the log; on each storage."""

from tests.integration.rest_api.client import Client, walk


def test_a_new_channel_is_its_creators_and_has_an_empty_log(anywhere: Client) -> None:
    answer = anywhere.post("/v1/channels", {"name": "Team", "members": ["bob", "bob", "alice"]})

    channel = answer.body
    assert answer.status == 201
    assert channel.pop("channelId")
    assert channel.pop("createdAt").endswith("Z")
    assert channel == {
        "name": "Team",
        "createdBy": "alice",
        "role": "owner",
        "memberCount": 2,
        "lastSeq": 0,
        "readSeq": 0,
        "unreadCount": 0,
        "agent": {"mode": "always", "modelId": "model-a"},
    }


def test_a_message_is_an_event_that_every_member_reads(anywhere: Client) -> None:
    channel = anywhere.new_channel("bob")

    posted = anywhere.post(
        f"/v1/channels/{channel}/messages",
        {"text": " hällo 👋\n", "clientMessageId": "c-1", "metadata": {"a": None}},
    )

    event = posted.body
    assert posted.status == 201
    assert event.pop("createdAt").endswith("Z")
    assert event == {
        "channelId": channel,
        "seq": 1,
        "type": "message.created",
        "sender": {"id": "alice", "name": "Alice", "kind": "user"},
        "clientMessageId": "c-1",
        "data": {"text": " hällo 👋\n", "metadata": {"a": None}},
    }
    log = anywhere.as_user("bob").get(f"/v1/channels/{channel}/events").body
    assert log == {"items": [posted.body], "lastSeq": 1, "hasMore": False}


def test_the_same_client_message_id_again_answers_the_first_event(anywhere: Client) -> None:
    channel = anywhere.new_channel()
    path = f"/v1/channels/{channel}/messages"
    message = {"text": "once", "clientMessageId": "c-1"}

    first = anywhere.post(path, message)
    again = anywhere.post(path, message)
    other = anywhere.post(path, {**message, "text": "twice"})

    assert (first.status, again.status, other.status) == (201, 200, 409)
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert anywhere.event_types(channel) == ["message.created"]


def test_the_whole_life_of_a_message_folds_into_what_lists_show(anywhere: Client) -> None:
    channel = anywhere.new_channel("bob")
    bob = anywhere.as_user("bob")
    seq = anywhere.say(channel, "first", metadata={"k": [1, 2.5]})
    bob.react(channel, seq, "👍")
    anywhere.patch(f"/v1/channels/{channel}/messages/{seq}", {"text": "second"})

    page = bob.get(f"/v1/channels/{channel}/messages").body

    (message,) = page["items"]
    assert page["nextCursor"] is None
    assert message["text"] == "second"
    assert message["metadata"] == {"k": [1, 2.5]}
    assert message["reactions"] == {"👍": ["bob"]}
    assert message["editedAt"] >= message["createdAt"]
    assert bob.get(f"/v1/channels/{channel}/messages/{seq}").body == message


def test_a_member_comes_and_goes(anywhere: Client) -> None:
    channel = anywhere.new_channel()
    anywhere.say(channel)
    bob = anywhere.as_user("bob")

    joined = anywhere.put(f"/v1/channels/{channel}/members/bob", {"role": "member"})
    seen = bob.get(f"/v1/channels/{channel}").body
    left = bob.delete(f"/v1/channels/{channel}/members/bob")

    assert joined.status == 200
    assert (seen["role"], seen["memberCount"], seen["readSeq"], seen["lastSeq"]) == (
        "member",
        2,
        2,
        2,
    )
    assert left.status == 204
    assert bob.get(f"/v1/channels/{channel}").status == 404
    assert bob.get("/v1/channels").body["items"] == []
    assert anywhere.get(f"/v1/channels/{channel}").body["memberCount"] == 1
    assert anywhere.event_types(channel) == ["message.created", "member.joined", "member.left"]


def test_a_deleted_channel_is_gone_for_everyone(anywhere: Client) -> None:
    channel = anywhere.new_channel("bob")
    seq = anywhere.say(channel)

    assert anywhere.delete(f"/v1/channels/{channel}").status == 204

    for client in (anywhere, anywhere.as_user("bob")):
        path = f"/v1/channels/{channel}"
        assert client.get(path).status == 404
        assert client.get(f"{path}/events").status == 404
        assert client.get(f"{path}/messages").status == 404
        assert client.get(f"{path}/members").status == 404
        assert client.post(f"{path}/messages", {"text": "late"}).status == 404
        assert client.patch(f"{path}/messages/{seq}", {"text": "late"}).status == 404
        assert client.delete(path).status == 404
        assert client.get("/v1/channels").body["items"] == []


def test_pages_of_messages_meet_without_a_gap_in_both_directions(anywhere: Client) -> None:
    channel = anywhere.new_channel()
    texts = [f"message {number}" for number in range(7)]
    for text in texts:
        anywhere.say(channel, text)
    path = f"/v1/channels/{channel}/messages?limit=3"

    older: list[str] = []
    for page in walk(anywhere, path):
        older = [message["text"] for message in page] + older
    newer = [message["text"] for page in walk(anywhere, f"{path}&after=0") for message in page]

    assert older == texts
    assert newer == texts
