"""Asking for another reply."""

from collections.abc import Callable

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Item, Table
from commons.errors import (
    ChannelNotFoundError,
    ConflictError,
    InvalidRequestError,
    MessageNotFoundError,
)
from commons.records.generation import EndedGeneration, OpenGeneration
from commons.schemas.event import MessageCreatedData, Sender
from commons.services.event_log import Draft, EventLogService
from commons.services.generations import GenerationsService, Regeneration

CHANNEL = "channel-1"
ALICE = Sender(id="alice", kind="user")
AGENT = Sender(id="#agent", kind="agent")

type Append = Callable[..., int]


@pytest.fixture
def service(repository: InMemoryRepository) -> GenerationsService:
    member: Item = {
        **keys.member_key(CHANNEL, "alice"),
        "channel_id": CHANNEL,
        "user_id": "alice",
        "role": "member",
        "joined_at": "2026-01-01T00:00:00.000Z",
    }
    repository.put(Table.CHANNELS, member)
    _mode(repository, "always")
    return GenerationsService(repository)


def _mode(repository: InMemoryRepository, mode: str) -> None:
    meta: Item = {
        **keys.channel_key(CHANNEL),
        "channel_id": CHANNEL,
        "name": "General",
        "created_at": "2026-01-01T00:00:00.000Z",
        "created_by": "alice",
        "member_count": 1,
        "owner_count": 1,
        "agent": {"mode": mode, "model_id": "m"},
    }
    repository.put(Table.CHANNELS, meta)


@pytest.fixture
def append(repository: InMemoryRepository) -> Append:
    log = EventLogService(repository)

    def append(sender: Sender, **data: object) -> int:
        created = MessageCreatedData.model_validate({"text": "text", **data})
        draft = Draft(sender=sender, data=created)
        return log.append(CHANNEL, lambda: draft).seq

    return append


def _row(repository: InMemoryRepository, question: int, generation: int, status: str) -> None:
    if status == "ended":
        ended = EndedGeneration(
            channel_id=CHANNEL, question_seq=question, generation=generation, event_seq=1
        )
        repository.put(Table.CHANNELS, {**ended.key, **ended.model_dump()})
        return
    row = OpenGeneration.model_validate(
        {
            "channel_id": CHANNEL,
            "question_seq": question,
            "generation": generation,
            "status": status,
            "asked_at": 0,
            "requested_by": "alice",
        }
    )
    repository.put(Table.CHANNELS, {**row.key, **row.model_dump(exclude_defaults=True)})


def test_the_next_generation_of_the_same_question_is_queued(
    service: GenerationsService, repository: InMemoryRepository, append: Append
) -> None:
    question = append(ALICE)
    reply = append(AGENT, reply_to=question, generation=1)
    _row(repository, question, 1, "ended")

    assert service.regenerate(CHANNEL, "alice", reply) == Regeneration(question, 2)

    row = service.find_open(CHANNEL, question)
    assert row is not None
    assert (row.generation, row.status, row.requested_by) == (2, "queued", "alice")


def test_a_generation_that_failed_counts(
    service: GenerationsService, repository: InMemoryRepository, append: Append
) -> None:
    question = append(ALICE)
    reply = append(AGENT, reply_to=question, generation=1)
    _row(repository, question, 1, "ended")
    _row(repository, question, 2, "ended")

    assert service.regenerate(CHANNEL, "alice", reply).generation == 3


@pytest.mark.parametrize("status", ["queued", "running", "waiting"])
def test_one_at_a_time(
    service: GenerationsService, repository: InMemoryRepository, append: Append, status: str
) -> None:
    question = append(ALICE)
    reply = append(AGENT, reply_to=question, generation=1)
    _row(repository, question, 1, "ended")
    _row(repository, question, 2, status)

    with pytest.raises(ConflictError):
        service.regenerate(CHANNEL, "alice", reply)


def test_twice_is_once(
    service: GenerationsService, repository: InMemoryRepository, append: Append
) -> None:
    question = append(ALICE)
    reply = append(AGENT, reply_to=question, generation=1)
    _row(repository, question, 1, "ended")
    service.regenerate(CHANNEL, "alice", reply)

    with pytest.raises(ConflictError):
        service.regenerate(CHANNEL, "alice", reply)


def test_an_agent_that_is_off_stays_off(
    service: GenerationsService, repository: InMemoryRepository, append: Append
) -> None:
    question = append(ALICE)
    reply = append(AGENT, reply_to=question, generation=1)
    _mode(repository, "off")

    with pytest.raises(ConflictError):
        service.regenerate(CHANNEL, "alice", reply)


def test_a_users_message_cannot_be_regenerated(service: GenerationsService, append: Append) -> None:
    with pytest.raises(InvalidRequestError):
        service.regenerate(CHANNEL, "alice", append(ALICE))


def test_a_message_that_is_none_cannot_be_regenerated(service: GenerationsService) -> None:
    with pytest.raises(MessageNotFoundError):
        service.regenerate(CHANNEL, "alice", 7)


@pytest.mark.parametrize("deleted", ["question", "reply"])
def test_what_is_deleted_stays_deleted(
    service: GenerationsService, append: Append, deleted: str
) -> None:
    question = append(ALICE, redacted=True if deleted == "question" else None)
    reply = append(
        AGENT, reply_to=question, generation=1, redacted=True if deleted == "reply" else None
    )

    with pytest.raises(ConflictError):
        service.regenerate(CHANNEL, "alice", reply)


def test_a_stranger_learns_nothing(service: GenerationsService, append: Append) -> None:
    question = append(ALICE)
    reply = append(AGENT, reply_to=question, generation=1)

    with pytest.raises(ChannelNotFoundError):
        service.regenerate(CHANNEL, "mallory", reply)
