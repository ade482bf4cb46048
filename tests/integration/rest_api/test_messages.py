"""Posting and editing: limits at the bound and one past it, who may, what is kept."""

import json
from base64 import b64encode
from typing import Any

import pytest
from tests.integration.rest_api.client import Client, proxy_event


def post(client: Client, channel: str, **message: object) -> int:
    return client.post(f"/v1/channels/{channel}/messages", message).status


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 422),
        ("a", 201),
        ("👍" * 16_000, 201),
        ("a" * 16_001, 413),
        ("\ud83d", 422),
        (7, 422),
        (None, 422),
    ],
)
def test_a_text_has_1_to_16000_characters(alice: Client, text: object, status: int) -> None:
    channel = alice.new_channel()

    assert post(alice, channel, text=text) == status


@pytest.mark.parametrize(
    "text", ["  spaces stay \n", "e\u0301 is not é", "\x00\x1f\u2028", "\U0010ffff 👩‍👩‍👧"]
)
def test_a_text_comes_back_as_it_came(alice: Client, text: str) -> None:
    channel = alice.new_channel()
    seq = alice.say(channel, text)

    assert alice.get(f"/v1/channels/{channel}/messages/{seq}").body["text"] == text
    event = alice.get(f"/v1/channels/{channel}/events").body["items"][0]
    assert event["data"]["text"] == text


@pytest.mark.parametrize(
    ("client_message_id", "status"),
    [("aZ0._:-", 201), ("a" * 64, 201), ("a" * 65, 422), ("", 422), ("a b", 422), ("ä", 422)],
)
def test_a_client_message_id_has_1_to_64_plain_characters(
    alice: Client, client_message_id: str, status: int
) -> None:
    channel = alice.new_channel()

    assert post(alice, channel, text="t", clientMessageId=client_message_id) == status


def test_metadata_has_2_kib_of_json_at_most(alice: Client) -> None:
    channel = alice.new_channel()
    room = 2048 - len(b'{"k":""}')

    assert post(alice, channel, text="t", metadata={"k": "m" * room}) == 201
    assert post(alice, channel, text="t", metadata={"k": "m" * (room + 1)}) == 413
    assert post(alice, channel, text="t", metadata={"k": "ä" * (room // 2 + 1)}) == 413
    assert post(alice, channel, text="t", metadata=[1]) == 422
    assert post(alice, channel, text="t", metadata={"\ud800": 1}) == 422


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"n": value}
    return value


def test_metadata_nests_as_deep_as_its_body_may(alice: Client) -> None:
    channel = alice.new_channel()

    assert post(alice, channel, text="t", metadata=nested(63)) == 201
    assert post(alice, channel, text="t", metadata=nested(64)) == 400
    assert alice.get(f"/v1/channels/{channel}/messages").body["items"][0]["metadata"] == nested(63)


@pytest.mark.parametrize(
    ("reply_to", "status"),
    [(1, 201), (1.0, 201), (1.5, 422), (2, 422), (99, 422), (0, 422), ("1", 422), (True, 422)],
)
def test_a_reply_is_to_a_message_of_the_channel(
    alice: Client, reply_to: object, status: int
) -> None:
    channel = alice.new_channel()
    alice.say(channel)
    alice.react(channel, 1, "👍")

    assert post(alice, channel, text="t", replyTo=reply_to) == status


def test_null_means_absent(alice: Client) -> None:
    channel = alice.new_channel()

    assert post(alice, channel, text="t", replyTo=None, metadata=None, clientMessageId=None) == 201


@pytest.mark.parametrize("field", ["client_message_id", "sender", "unknown"])
def test_unknown_fields_are_refused_by_name(alice: Client, field: str) -> None:
    channel = alice.new_channel()

    answer = alice.post(f"/v1/channels/{channel}/messages", {"text": "t", field: "x"})

    assert answer.status == 422
    assert [error["field"] for error in answer.body["errors"]] == [field]


def test_a_stranger_posts_nowhere(alice: Client) -> None:
    channel = alice.new_channel()

    assert post(alice.as_user("mallory"), channel, text="t") == 404
    assert alice.event_types(channel) == []


def test_a_base64_body_is_read(alice: Client) -> None:
    channel = alice.new_channel()
    body = b64encode(json.dumps({"text": "👋"}).encode()).decode()

    answer = alice.send(
        proxy_event(
            "POST",
            f"/v1/channels/{channel}/messages",
            user="alice",
            body=body,
            headers={"content-type": "application/json"},
            base64_encoded=True,
        )
    )

    assert answer.status == 201
    assert answer.body["data"]["text"] == "👋"


def edit(client: Client, channel: str, seq: int, text: object) -> int:
    return client.patch(f"/v1/channels/{channel}/messages/{seq}", {"text": text}).status


def test_only_its_sender_edits_a_message(alice: Client) -> None:
    channel = alice.new_channel("bob")
    seq = alice.as_user("bob").say(channel)

    assert edit(alice, channel, seq, "by an owner") == 403
    assert edit(alice.as_user("mallory"), channel, seq, "by a stranger") == 404
    assert edit(alice.as_user("bob"), channel, seq, "by bob") == 200


def test_an_edit_is_an_event_and_the_original_stays_in_the_log(alice: Client) -> None:
    channel = alice.new_channel()
    seq = alice.say(channel, "first")

    message = alice.patch(f"/v1/channels/{channel}/messages/{seq}", {"text": "second"}).body

    events = alice.get(f"/v1/channels/{channel}/events").body["items"]
    assert message["text"] == "second"
    assert [event["data"] for event in events] == [
        {"text": "first"},
        {"target": 1, "text": "second"},
    ]


def test_the_same_text_again_is_no_edit(alice: Client) -> None:
    channel = alice.new_channel()
    seq = alice.say(channel, "first")

    answer = alice.patch(f"/v1/channels/{channel}/messages/{seq}", {"text": "first"})

    assert answer.status == 200
    assert "editedAt" not in answer.body
    assert alice.event_types(channel) == ["message.created"]


def test_the_fiftieth_edit_is_taken_and_the_next_is_not(alice: Client) -> None:
    channel = alice.new_channel()
    seq = alice.say(channel)
    for number in range(49):
        edit(alice, channel, seq, f"edit {number}")

    assert edit(alice, channel, seq, "the 50th") == 200
    assert edit(alice, channel, seq, "the 51st") == 409
    assert alice.get(f"/v1/channels/{channel}/messages/{seq}").body["text"] == "the 50th"


@pytest.mark.parametrize(
    ("text", "status"), [("", 422), ("a" * 16_000, 200), ("a" * 16_001, 413), ("\udc00", 422)]
)
def test_an_edit_has_the_limits_of_a_text(alice: Client, text: str, status: int) -> None:
    channel = alice.new_channel()
    seq = alice.say(channel)

    assert edit(alice, channel, seq, text) == status


@pytest.mark.parametrize("seq", ["0", "2", "3", "99", "abc", "1.0", "-1", "9" * 40, "%F0%9F%91%8D"])
def test_what_is_no_message_is_404(alice: Client, seq: str) -> None:
    channel = alice.new_channel()
    alice.say(channel)
    alice.react(channel, 1, "👍")
    path = f"/v1/channels/{channel}/messages/{seq}"

    assert alice.get(path).status == 404
    assert alice.patch(path, {"text": "t"}).status == 404
    assert alice.delete(path).status == 404
    assert alice.put(f"{path}/reactions/x").status == 404
    assert alice.post(f"{path}/regenerate").status == 404
