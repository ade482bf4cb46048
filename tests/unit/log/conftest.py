from collections.abc import Callable

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Table
from commons.schemas.caller import Caller

CHANNEL = "channel-1"


@pytest.fixture
def repository() -> InMemoryRepository:
    """Holds the channel's own row, as the channels service leaves it."""
    repository = InMemoryRepository()
    repository.put(
        Table.CHANNELS,
        {
            **keys.channel_key(CHANNEL),
            "channel_id": CHANNEL,
            "name": "Channel 1",
            "created_at": "2026-01-01T00:00:00.000Z",
            "created_by": "owner",
            "agent": {"model_id": "none"},
            "member_count": 1,
            "owner_count": 1,
        },
    )
    return repository


@pytest.fixture
def join(repository: InMemoryRepository) -> Callable[[str], Caller]:
    """Makes a user a member of the channel, as the members service leaves the rows."""

    def _join(user_id: str) -> Caller:
        repository.put(
            Table.CHANNELS,
            {
                **keys.member_key(CHANNEL, user_id),
                "channel_id": CHANNEL,
                "user_id": user_id,
                "role": "member",
                "joined_at": "2026-01-01T00:00:00.000Z",
            },
        )
        return Caller(user_id=user_id, name=user_id.title(), expires_at=2**40)

    return _join


@pytest.fixture
def alice(join: Callable[[str], Caller]) -> Caller:
    return join("alice")
