"""A warm function remembers a head that others have left behind."""

from collections.abc import Callable

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import IRepository, PutWrite, Table, Write
from commons.schemas.caller import Caller
from commons.schemas.message import PostMessage
from commons.services.event_log import EventLogService
from commons.services.messages import MessagesService
from rest_api.services.deletions import DeletionsService
from rest_api.services.edits import EditsService

CHANNEL = "channel-1"
ALICE = Caller(user_id="alice", expires_at=2**40)


@pytest.fixture
def other_process(repository: InMemoryRepository) -> IRepository:
    """The same tables behind another repository: another function, with heads of its own."""
    return InMemoryRepository(repository.tables)


@pytest.fixture
def post(repository: InMemoryRepository) -> Callable[[IRepository, str], int]:
    created: list[Write] = [
        PutWrite(
            Table.CHANNELS,
            {
                **keys.channel_key(CHANNEL),
                "channel_id": CHANNEL,
                "name": "Channel 1",
                "created_at": "2026-01-01T00:00:00.000Z",
                "created_by": "alice",
                "agent": {"model_id": "none"},
                "member_count": 1,
                "owner_count": 1,
            },
        ),
        PutWrite(
            Table.CHANNELS,
            {
                **keys.member_key(CHANNEL, "alice"),
                "channel_id": CHANNEL,
                "user_id": "alice",
                "role": "owner",
                "joined_at": "2026-01-01T00:00:00.000Z",
            },
        ),
    ]
    repository.transact(created)

    def _post(process: IRepository, text: str) -> int:
        message = PostMessage(text=text)
        return MessagesService(process).post(CHANNEL, ALICE, message).event.seq

    return _post


def test_the_message_after_the_remembered_head_can_be_deleted(
    repository: InMemoryRepository,
    other_process: IRepository,
    post: Callable[[IRepository, str], int],
) -> None:
    post(repository, "first")
    posted_elsewhere = post(other_process, "second")

    DeletionsService(repository).delete(CHANNEL, ALICE, posted_elsewhere)

    page = EventLogService(repository).read(CHANNEL, after=0, limit=10)
    assert [event.type for event in page.items] == [
        "message.created",
        "message.created",
        "message.deleted",
    ]
    assert "second" not in repr(repository.all_items(Table.CHAT_EVENTS))


def test_a_message_whose_edit_is_after_the_remembered_head_can_be_deleted(
    repository: InMemoryRepository,
    other_process: IRepository,
    post: Callable[[IRepository, str], int],
) -> None:
    posted = post(repository, "first")
    EditsService(other_process).edit(CHANNEL, ALICE, posted, "second")

    DeletionsService(repository).delete(CHANNEL, ALICE, posted)

    assert EventLogService(repository).head(CHANNEL) == 3
    assert "second" not in repr(repository.all_items(Table.CHAT_EVENTS))
