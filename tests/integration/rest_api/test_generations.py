"""Asking the agent again, and telling it to stop."""

import pytest
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client

from commons import keys
from commons.dal import Table
from commons.schemas.event import MessageCreatedData, Sender
from commons.services.event_log import Draft, EventLogService


@pytest.fixture
def answered(alice: Client, repository: InMemoryRepository) -> str:
    """A channel with a question (1) and the agent's reply (2)."""
    channel = alice.new_channel("bob")
    alice.say(channel, "a question")
    EventLogService(repository).append(
        channel,
        lambda: Draft(
            sender=Sender(id="#agent", kind="agent"),
            data=MessageCreatedData(
                text="an answer", reply_to=1, generation=1, finish_reason="stop"
            ),
        ),
    )
    return channel


def regenerate(client: Client, channel: str, seq: int) -> int:
    return client.post(f"/v1/channels/{channel}/messages/{seq}/regenerate").status


def test_a_reply_is_asked_for_anew_once_at_a_time(
    alice: Client, answered: str, repository: InMemoryRepository
) -> None:
    assert regenerate(alice, answered, 2) == 202
    assert regenerate(alice, answered, 2) == 409

    row = repository.get(Table.CHANNELS, keys.open_generation_key(answered, 1, 2))
    assert row["status"] == "queued"


def test_only_an_agents_message_is_asked_for_anew(alice: Client, answered: str) -> None:
    assert regenerate(alice, answered, 1) == 422


def test_an_agent_that_is_off_is_not_asked(alice: Client, answered: str) -> None:
    alice.patch(f"/v1/channels/{answered}", {"agent": {"mode": "off"}})

    assert regenerate(alice, answered, 2) == 409


def test_a_deleted_reply_is_not_asked_for_anew(alice: Client, answered: str) -> None:
    alice.delete(f"/v1/channels/{answered}/messages/2")

    assert regenerate(alice, answered, 2) == 409


def test_a_stranger_asks_for_nothing(alice: Client, answered: str) -> None:
    mallory = alice.as_user("mallory")

    assert regenerate(mallory, answered, 2) == 404
    assert mallory.post(f"/v1/channels/{answered}/generations/cancel").status == 404


@pytest.mark.parametrize("body", [None, {}, {"replyTo": None}])
def test_any_member_cancels_everything_up_to_now(
    alice: Client, answered: str, repository: InMemoryRepository, body: object
) -> None:
    bob = alice.as_user("bob")

    assert bob.post(f"/v1/channels/{answered}/generations/cancel", body).status == 202

    assert repository.get(Table.CHANNELS, keys.cancel_key(answered))["through_seq"] == 2


@pytest.mark.parametrize(("reply_to", "status"), [(1, 202), (99, 422), (0, 422), ("1", 422)])
def test_the_reply_to_one_question_is_cancelled(
    alice: Client, answered: str, reply_to: object, status: int
) -> None:
    path = f"/v1/channels/{answered}/generations/cancel"

    assert alice.post(path, {"replyTo": reply_to}).status == status


def cancelled(client: Client, channel: str, reply_to: int) -> list[int]:
    """The questions whose replies have ended once one of them is cancelled."""
    path = f"/v1/channels/{channel}/generations/cancel"
    assert client.post(path, {"replyTo": reply_to}).status == 202
    messages = client.get(f"/v1/channels/{channel}/messages").body["items"]
    return [each["replyTo"] for each in messages if each["sender"]["kind"] == "agent"]


def change(alice: Client, channel: str, **changes: object) -> None:
    assert alice.patch(f"/v1/channels/{channel}", changes).status == 200


def test_a_question_that_nobody_has_taken_up_yet_ends_where_it_is_cancelled(alice: Client) -> None:
    channel = alice.new_channel("bob", agent={"mode": "off"})
    change(alice, channel, agent={"mode": "always"})
    question = alice.say(channel)
    change(alice, channel, name="Another name")

    assert cancelled(alice.as_user("bob"), channel, question) == [question]


@pytest.mark.parametrize(
    ("before", "after"),
    [("off", "always"), ("mention", "always"), ("off", "mention")],
)
def test_a_cancel_invents_no_reply_to_what_was_no_question_when_it_was_posted(
    alice: Client, before: str, after: str
) -> None:
    channel = alice.new_channel("bob", agent={"mode": before})
    text = "hello" if before == "mention" else "hello, @agent"
    message = alice.say(channel, text)
    change(alice, channel, agent={"mode": after})
    events = alice.event_types(channel)

    assert cancelled(alice.as_user("bob"), channel, message) == []
    assert alice.event_types(channel) == events


def test_an_edit_makes_no_question_of_a_message(alice: Client) -> None:
    channel = alice.new_channel("bob", agent={"mode": "mention"})
    message = alice.say(channel, "hello")
    alice.patch(f"/v1/channels/{channel}/messages/{message}", {"text": "hello, @agent"})

    assert cancelled(alice.as_user("bob"), channel, message) == []


def test_a_question_stays_one_whatever_it_is_edited_to(alice: Client) -> None:
    channel = alice.new_channel("bob", agent={"mode": "mention"})
    question = alice.say(channel, "hello, @agent")
    alice.patch(f"/v1/channels/{channel}/messages/{question}", {"text": "hello"})

    assert cancelled(alice.as_user("bob"), channel, question) == [question]


def test_only_its_owner_deletes_an_agents_message(alice: Client, answered: str) -> None:
    path = f"/v1/channels/{answered}/messages/2"

    assert alice.as_user("bob").delete(path).status == 403
    assert alice.patch(path, {"text": "put into its mouth"}).status == 403
    assert alice.delete(path).status == 204


def test_deleting_a_reply_leaves_no_trace_of_a_reply_to_it(
    alice: Client, answered: str, repository: InMemoryRepository
) -> None:
    alice.delete(f"/v1/channels/{answered}/messages/2")

    assert repository.find(Table.CHANNELS, keys.open_generation_key(answered, 2, 1)) is None
