"""Reactions: who reacted with what, limits, and emoji in paths however they are encoded."""

from urllib.parse import quote

import pytest
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client

from commons.dal import Table
from commons.records.message_state import Reaction
from commons.services.history import HistoryService


def reactions(client: Client, channel: str, seq: int = 1) -> dict[str, list[str]]:
    found: dict[str, list[str]] = client.get(f"/v1/channels/{channel}/messages/{seq}").body[
        "reactions"
    ]
    return found


def test_reactions_are_kept_by_emoji_in_the_order_they_came(alice: Client) -> None:
    channel = alice.new_channel("bob")
    bob = alice.as_user("bob")
    alice.say(channel)

    bob.react(channel, 1, "🎉")
    alice.react(channel, 1, "👍")
    alice.react(channel, 1, "🎉")

    assert reactions(alice, channel) == {"🎉": ["bob", "alice"], "👍": ["alice"]}


def test_a_reaction_taken_back_is_gone(alice: Client) -> None:
    channel = alice.new_channel()
    alice.say(channel)
    alice.react(channel, 1, "👍")

    path = f"/v1/channels/{channel}/messages/1/reactions/{quote('👍')}"
    assert alice.delete(path).status == 204

    assert reactions(alice, channel) == {}
    assert alice.event_types(channel) == [
        "message.created",
        "reaction.added",
        "reaction.removed",
    ]


def test_what_changes_nothing_writes_no_event(alice: Client) -> None:
    channel = alice.new_channel()
    alice.say(channel)
    alice.react(channel, 1, "👍")

    assert alice.react(channel, 1, "👍").status == 204
    assert alice.delete(f"/v1/channels/{channel}/messages/1/reactions/x").status == 204
    assert alice.event_types(channel) == ["message.created", "reaction.added"]


@pytest.mark.parametrize(
    "emoji", ["👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", ":tada:", "%", "%41", "a b", "é", "?", "#", "/"]
)
def test_any_emoji_goes_through_a_path(alice: Client, emoji: str) -> None:
    channel = alice.new_channel()
    alice.say(channel)

    assert alice.react(channel, 1, emoji).status == 204

    assert reactions(alice, channel) == {emoji: ["alice"]}


@pytest.mark.parametrize("emoji", ["👍🏽", "👩‍👩‍👧‍👦", "%", "a b", "é"])
def test_a_path_that_arrives_decoded_is_understood(alice: Client, emoji: str) -> None:
    channel = alice.new_channel()
    alice.say(channel)

    answer = alice.put(f"/v1/channels/{channel}/messages/1/reactions/{emoji}")

    assert answer.status == 204
    assert reactions(alice, channel) == {emoji: ["alice"]}


@pytest.mark.parametrize(("emoji", "status"), [("a" * 32, 204), ("👍" * 32, 204), ("a" * 33, 422)])
def test_an_emoji_has_1_to_32_code_points(alice: Client, emoji: str, status: int) -> None:
    channel = alice.new_channel()
    alice.say(channel)

    assert alice.react(channel, 1, emoji).status == status


def test_an_emoji_is_utf_8(alice: Client) -> None:
    channel = alice.new_channel()
    alice.say(channel)

    assert alice.put(f"/v1/channels/{channel}/messages/1/reactions/%FF%FE").status == 422


def test_a_message_has_twenty_different_emoji_at_most(alice: Client) -> None:
    channel = alice.new_channel("bob")
    alice.say(channel)
    for letter in "abcdefghijklmnopqrs":
        alice.react(channel, 1, letter)

    assert alice.react(channel, 1, "t").status == 204
    assert alice.react(channel, 1, "u").status == 409
    assert alice.as_user("bob").react(channel, 1, "t").status == 204


def test_a_message_has_a_thousand_reactions_at_most(
    alice: Client, repository: InMemoryRepository
) -> None:
    channel = alice.new_channel("bob")
    alice.say(channel)
    before = HistoryService(repository).stored_message(channel, 1).reactions
    users = tuple(f"user-{number}" for number in range(999))
    repository.transact(before.writes(channel, 1, (Reaction(emoji="👍", user_ids=users),)))

    assert alice.react(channel, 1, "👍").status == 204
    assert alice.as_user("bob").react(channel, 1, "👍").status == 409


def test_a_stranger_does_not_react(alice: Client) -> None:
    channel = alice.new_channel()
    alice.say(channel)

    assert alice.as_user("mallory").react(channel, 1, "👍").status == 404


def test_two_reactions_at_once_both_count(
    alice: Client, repository: InMemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = alice.new_channel("bob")
    alice.say(channel)
    transact = repository.transact
    raced = False

    def raced_transact(writes: object) -> None:
        nonlocal raced
        if not raced:
            raced = True
            alice.as_user("bob").react(channel, 1, "👍")
        transact(writes)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(repository, "transact", raced_transact)

    alice.react(channel, 1, "👍")

    assert reactions(alice, channel) == {"👍": ["bob", "alice"]}
    assert repository.find(Table.CHAT_EVENTS, {"channel_id": channel, "seq": 4}) is None
