import time

from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Item, Table
from commons.schemas.caller import Caller
from commons.services.connections import ConnectionsService
from websocket_session.services.renewal import RenewalService


def test_a_subscription_made_beside_a_renewal_ends_with_the_new_token(
    repository: InMemoryRepository,
) -> None:
    soon, later = int(time.time()) + 60, int(time.time()) + 600
    for channel_id in ("A", "B"):
        row: Item = {**keys.member_key(channel_id, "alice"), "user_id": "alice", "role": "member"}
        repository.put(Table.CHANNELS, row)
    connections = ConnectionsService(repository)
    connection = connections.register(
        "c1",
        Caller(user_id="alice", expires_at=soon),
        connected_at=int(time.time() * 1000),
        channels=["A"],
    )
    connections.subscribe(connection, "B")
    renewal = RenewalService(
        repository,
        verify_token=lambda _token: Caller(user_id="alice", expires_at=later),
        connections=ConnectionsService(repository),
    )

    renewal.renew(connection, "fresh")

    assert connections.require("c1").expires_at == later
    for channel_id in ("A", "B"):
        (subscription,) = connections.subscriptions(channel_id)
        assert subscription.expires_at == later
