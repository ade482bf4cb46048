"""Posting: members only, once for each clientMessageId."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Table
from commons.errors import (
    ChannelNotFoundError,
    ConflictError,
    InvalidRequestError,
    TooLargeError,
)
from commons.schemas.caller import Caller
from commons.schemas.event import MessageCreated
from commons.schemas.message import PostMessage
from commons.services.event_log import EventLogService
from commons.services.messages import MessagesService

CHANNEL = "channel-1"


def post(
    repository: InMemoryRepository,
    caller: Caller,
    text: str = "hello",
    client_message_id: str | None = None,
    reply_to: int | None = None,
) -> tuple[int, bool]:
    message = PostMessage(text=text, client_message_id=client_message_id, reply_to=reply_to)
    posted = MessagesService(repository).post(CHANNEL, caller, message)
    return posted.event.seq, posted.duplicate


def event_count(repository: InMemoryRepository) -> int:
    return len(EventLogService(repository).read(CHANNEL, after=0, limit=100).items)


def test_a_message_carries_its_sender(repository: InMemoryRepository, alice: Caller) -> None:
    post(repository, alice, "hi")

    event = EventLogService(repository).get(CHANNEL, 1)

    assert event.sender == alice.as_sender()
    assert isinstance(event, MessageCreated)
    assert event.data.text == "hi"


def test_a_stranger_is_told_that_there_is_no_channel(
    repository: InMemoryRepository, alice: Caller
) -> None:
    stranger = Caller(user_id="mallory", expires_at=2**40)

    with pytest.raises(ChannelNotFoundError):
        post(repository, stranger)
    assert event_count(repository) == 0


def test_the_same_client_message_id_again_answers_the_first_event(
    repository: InMemoryRepository, alice: Caller
) -> None:
    first = post(repository, alice, "once", "m-1")
    post(repository, alice, "between")
    again = post(repository, alice, "once", "m-1")

    assert first == (1, False)
    assert again == (1, True)
    assert event_count(repository) == 2


def test_two_senders_may_use_the_same_client_message_id(
    repository: InMemoryRepository, alice: Caller, join: Callable[[str], Caller]
) -> None:
    assert post(repository, alice, "a", "m-1") == (1, False)
    assert post(repository, join("bob"), "b", "m-1") == (2, False)


@pytest.mark.parametrize(("text", "reply_to"), [("another", None), ("once", 1)])
def test_a_client_message_id_used_for_another_request_is_a_conflict(
    repository: InMemoryRepository, alice: Caller, text: str, reply_to: int | None
) -> None:
    post(repository, alice, "once", "m-1")

    with pytest.raises(ConflictError):
        post(repository, alice, text, "m-1", reply_to)
    assert event_count(repository) == 1


def test_one_of_many_posts_with_one_client_message_id_wins(
    repository: InMemoryRepository, alice: Caller
) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: post(repository, alice, "once", "m-1"), range(48)))

    assert sorted(answers) == [(1, False)] + [(1, True)] * 47
    assert event_count(repository) == 1


def test_the_text_is_not_in_the_marker(repository: InMemoryRepository, alice: Caller) -> None:
    post(repository, alice, "a secret", "m-1")

    marker = repository.get(Table.CHAT_EVENTS, keys.idempotency_marker_key(CHANNEL, "alice", "m-1"))

    assert "a secret" not in repr(marker)


def test_a_replay_after_redaction_does_not_compare_texts(
    repository: InMemoryRepository, alice: Caller
) -> None:
    post(repository, alice, "gone", "m-1")
    key = keys.idempotency_marker_key(CHANNEL, "alice", "m-1")
    repository.put(Table.CHAT_EVENTS, {**key, "event_seq": 1})

    assert post(repository, alice, "gone", "m-1") == (1, True)


def test_a_reply_names_an_existing_message(repository: InMemoryRepository, alice: Caller) -> None:
    post(repository, alice)

    assert post(repository, alice, reply_to=1) == (2, False)
    with pytest.raises(InvalidRequestError):
        post(repository, alice, reply_to=3)


def test_a_text_is_counted_in_code_points() -> None:
    assert PostMessage(text="🦜" * 16_000).text == "🦜" * 16_000
    with pytest.raises(TooLargeError):
        PostMessage(text="🦜" * 16_001)


def test_a_text_with_an_unpaired_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="unicode"):
        PostMessage(text="\ud800")


def test_metadata_is_counted_in_bytes_of_json() -> None:
    at_the_bound = {"k": "x" * (2_048 - len('{"k":""}'))}

    assert PostMessage(text="x", metadata=at_the_bound).metadata == at_the_bound
    with pytest.raises(TooLargeError):
        PostMessage(text="x", metadata={"k": at_the_bound["k"] + "x"})


def test_metadata_with_an_unpaired_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        PostMessage(text="x", metadata={"k": ["\ud800"]})
