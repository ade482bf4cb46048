"""Presence: who has a live subscription, right at once."""

from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client
from tests.integration.rest_api.conftest import Listen

from commons.services.connections import ConnectionsService


def presence(client: Client, channel: str) -> object:
    return client.get(f"/v1/channels/{channel}/presence").body


def test_nobody_listens_to_a_new_channel(alice: Client) -> None:
    assert presence(alice, alice.new_channel()) == {"items": []}


def test_whoever_listens_is_shown_at_once(
    alice: Client, repository: InMemoryRepository, listen: Listen
) -> None:
    channel = alice.new_channel("bob")
    listen("alice", channel)
    of_bob = listen("bob", channel)

    assert presence(alice, channel) == {
        "items": [{"userId": "alice", "connections": 1}, {"userId": "bob", "connections": 1}]
    }
    ConnectionsService(repository).forget(of_bob)
    assert presence(alice, channel) == {"items": [{"userId": "alice", "connections": 1}]}


def test_a_stranger_does_not_see_who_listens(alice: Client) -> None:
    channel = alice.new_channel()

    assert alice.as_user("mallory").get(f"/v1/channels/{channel}/presence").status == 404
