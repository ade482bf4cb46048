"""Presence: who has a live subscription, right at once."""

import pytest
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client, walk
from tests.integration.rest_api.conftest import Listen

from commons.dal import Table
from commons.records.connection import Subscription, SubscriptionState
from commons.services.connections import ConnectionsService


def presence(client: Client, channel: str) -> object:
    return client.get(f"/v1/channels/{channel}/presence").body


def test_nobody_listens_to_a_new_channel(alice: Client) -> None:
    assert presence(alice, alice.new_channel()) == {"items": [], "nextCursor": None}


def test_whoever_listens_is_shown_at_once(
    alice: Client, repository: InMemoryRepository, listen: Listen
) -> None:
    channel = alice.new_channel("bob")
    listen("alice", channel)
    of_bob = listen("bob", channel)

    assert presence(alice, channel) == {
        "items": [{"userId": "alice", "connections": 1}, {"userId": "bob", "connections": 1}],
        "nextCursor": None,
    }
    ConnectionsService(repository).forget(of_bob)
    assert presence(alice, channel) == {
        "items": [{"userId": "alice", "connections": 1}],
        "nextCursor": None,
    }


def test_a_stranger_does_not_see_who_listens(alice: Client) -> None:
    channel = alice.new_channel()

    assert alice.as_user("mallory").get(f"/v1/channels/{channel}/presence").status == 404


@pytest.mark.parametrize("listeners", [7, 1_300])
def test_listeners_come_in_pages_in_the_order_of_their_ids(
    alice: Client, repository: InMemoryRepository, listeners: int
) -> None:
    channel = alice.new_channel()
    users = {f"u{number}": 1 + number % 3 for number in range(listeners)}
    users |= {"u1-x": 2, "u1+": 1}
    for user, connections in users.items():
        for number in range(connections):
            subscribed(repository, channel, user, f"{user}/{number}")
    subscribed(repository, channel, "u1", "gone", expires_at=1)
    subscribed(repository, channel, "u0x", "replays", state="replaying")

    for limit in (1, 3, 100) if listeners < 10 else (100,):
        pages = list(walk(alice, f"/v1/channels/{channel}/presence?limit={limit}"))

        shown = [(each["userId"], each["connections"]) for page in pages for each in page]
        assert shown == sorted(users.items())
        assert all(len(page) == limit for page in pages[:-1])


def subscribed(
    repository: InMemoryRepository,
    channel: str,
    user: str,
    connection: str,
    *,
    expires_at: int = 2**31,
    state: SubscriptionState = "live",
) -> None:
    row = Subscription(
        channel_id=channel,
        connection_id=connection,
        user_id=user,
        state=state,
        expires_at=expires_at,
        connected_at=0,
    )
    repository.put(Table.CONNECTIONS, row.to_item())
