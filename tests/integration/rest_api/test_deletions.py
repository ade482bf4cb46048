"""Deleting messages: the text is nowhere any more, and what follows from that."""

from collections.abc import Iterator

import pytest
from tests.doubles.acting_room import HELD
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client

from commons import keys
from commons.dal import IRepository, Query, Table, Update
from commons.services.generations import GenerationsService

SECRET = "the secret words"


def delete(client: Client, channel: str, seq: int = 1) -> int:
    return client.delete(f"/v1/channels/{channel}/messages/{seq}").status


def stored(storage: IRepository, channel: str, *partitions: str) -> Iterator[object]:
    """Every item that a message of the channel may have left."""
    for partition in (channel, f"{channel}#state", *partitions):
        yield from storage.iterate(Query(table=Table.CHAT_EVENTS, partition=partition))
    yield from storage.iterate(Query(table=Table.CHANNELS, partition=f"channel#{channel}"))


def test_the_text_of_a_deleted_message_is_in_no_item(
    anywhere: Client, storage: IRepository
) -> None:
    channel = anywhere.new_channel()
    anywhere.say(channel, SECRET, clientMessageId="c-1", metadata={"note": SECRET})
    for number in range(3):
        anywhere.patch(f"/v1/channels/{channel}/messages/1", {"text": f"{SECRET} {number}"})
    marker = str(keys.idempotency_marker_key(channel, "alice", "c-1")["channel_id"])
    assert SECRET in repr(list(stored(storage, channel, marker)))

    assert delete(anywhere, channel) == 204

    left = list(stored(storage, channel, marker))
    assert SECRET not in repr(left)
    assert "digest" not in repr(left)
    assert "salt" not in repr(left)


def test_a_reply_that_quotes_a_deleted_message_keeps_the_quoted_words(alice: Client) -> None:
    channel = alice.new_channel("bob")
    alice.say(channel, SECRET)
    alice.as_user("bob").say(channel, f"> {SECRET}", replyTo=1)

    assert delete(alice, channel) == 204

    items = alice.get(f"/v1/channels/{channel}/messages").body["items"]
    assert [message["text"] for message in items] == ["", f"> {SECRET}"]


def test_a_message_with_fifty_edits_is_redacted_in_one_transaction(
    alice: Client, repository: InMemoryRepository
) -> None:
    channel = alice.new_channel()
    alice.say(channel, SECRET, clientMessageId="c-1")
    for number in range(50):
        alice.patch(f"/v1/channels/{channel}/messages/1", {"text": f"{SECRET} {number}"})

    assert delete(alice, channel) == 204

    assert SECRET not in repr(list(stored(repository, channel)))


def test_a_deleted_message_is_listed_without_text_and_reactions(anywhere: Client) -> None:
    channel = anywhere.new_channel()
    anywhere.say(channel, SECRET, metadata={"note": "x"})
    anywhere.patch(f"/v1/channels/{channel}/messages/1", {"text": "edited"})
    anywhere.react(channel, 1, "👍")

    delete(anywhere, channel)

    message = anywhere.get(f"/v1/channels/{channel}/messages/1").body
    assert anywhere.get(f"/v1/channels/{channel}/messages").body["items"] == [message]
    assert message.pop("deletedAt").endswith("Z")
    assert message.pop("createdAt")
    assert message == {
        "channelId": channel,
        "seq": 1,
        "sender": {"id": "alice", "name": "Alice", "kind": "user"},
        "text": "",
        "reactions": {},
    }


def test_the_log_keeps_the_redacted_events(alice: Client) -> None:
    channel = alice.new_channel()
    alice.say(channel, SECRET, metadata={"note": "x"})
    alice.patch(f"/v1/channels/{channel}/messages/1", {"text": "edited"})

    delete(alice, channel)

    events = alice.get(f"/v1/channels/{channel}/events").body["items"]
    assert [(event["type"], event["data"]) for event in events] == [
        ("message.created", {"text": "", "redacted": True}),
        ("message.edited", {"target": 1, "text": "", "redacted": True}),
        ("message.deleted", {"target": 1}),
    ]


def test_a_replayed_client_message_id_answers_the_redacted_event(alice: Client) -> None:
    channel = alice.new_channel()
    alice.say(channel, SECRET, clientMessageId="c-1")
    delete(alice, channel)

    for text in (SECRET, "another text"):
        answer = alice.post(
            f"/v1/channels/{channel}/messages", {"text": text, "clientMessageId": "c-1"}
        )
        assert answer.status == 200
        assert answer.body["data"] == {"text": "", "redacted": True}


def test_nothing_more_happens_to_a_deleted_message(alice: Client) -> None:
    channel = alice.new_channel()
    alice.say(channel)
    alice.react(channel, 1, "👍")
    delete(alice, channel)
    path = f"/v1/channels/{channel}/messages/1"

    assert alice.patch(path, {"text": "again"}).status == 409
    assert alice.react(channel, 1, "🎉").status == 409
    assert alice.delete(f"{path}/reactions/x").status == 409


def test_deleting_again_changes_nothing(alice: Client) -> None:
    channel = alice.new_channel()
    alice.say(channel)

    assert delete(alice, channel) == 204
    assert delete(alice, channel) == 204
    assert alice.event_types(channel) == ["message.created", "message.deleted"]


def test_the_sender_and_owners_delete_and_nobody_else(alice: Client) -> None:
    channel = alice.new_channel("bob", "carol")
    bob, carol = alice.as_user("bob"), alice.as_user("carol")
    for _ in range(2):
        bob.say(channel)

    assert delete(carol, channel, 1) == 403
    assert delete(alice.as_user("mallory"), channel, 1) == 404
    assert delete(bob, channel, 1) == 204
    assert delete(alice, channel, 2) == 204


def test_deleting_a_question_cancels_its_reply(
    alice: Client, repository: InMemoryRepository
) -> None:
    channel = alice.new_channel()
    alice.say(channel, "a question")
    GenerationsService(repository).ask(channel, 1, "alice", correlation_id=None)
    key = keys.open_generation_key(channel, 1, 1)
    repository.update(Table.CHANNELS, key, Update(set={**HELD, "fence": 1}))

    delete(alice, channel)

    assert repository.get(Table.CHANNELS, key)["cancelled"] is True


def test_deleting_a_message_that_nobody_answers_leaves_no_generation(
    alice: Client, repository: InMemoryRepository
) -> None:
    channel = alice.new_channel()
    alice.say(channel, "no question")

    delete(alice, channel)

    assert repository.find(Table.CHANNELS, keys.open_generation_key(channel, 1, 1)) is None


def test_an_edit_that_races_the_deletion_loses_or_is_redacted(
    alice: Client, repository: InMemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = alice.new_channel()
    alice.say(channel, SECRET)
    transact = repository.transact
    raced = False

    def raced_transact(writes: object) -> None:
        nonlocal raced
        if not raced:
            raced = True
            assert delete(alice, channel) == 204
        transact(writes)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(repository, "transact", raced_transact)

    answer = alice.patch(f"/v1/channels/{channel}/messages/1", {"text": f"{SECRET} edited"})

    assert answer.status == 409
    assert SECRET not in repr(list(stored(repository, channel)))


def test_a_deletion_that_races_an_edit_redacts_it_too(
    alice: Client, repository: InMemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = alice.new_channel()
    alice.say(channel, SECRET)
    transact = repository.transact
    raced = False

    def raced_transact(writes: object) -> None:
        nonlocal raced
        if not raced:
            raced = True
            alice.patch(f"/v1/channels/{channel}/messages/1", {"text": f"{SECRET} edited"})
        transact(writes)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(repository, "transact", raced_transact)

    assert delete(alice, channel) == 204

    assert SECRET not in repr(list(stored(repository, channel)))
