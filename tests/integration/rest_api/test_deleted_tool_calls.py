"""Deleting a question or a reply empties what tools were asked and said for it."""

import pytest
from tests.doubles.acting_room import HELD, offer, pending_calls
from tests.doubles.faults import FailingRepository, Failure
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client
from tests.integration.rest_api.conftest import MakeApi

from commons.dal import IRepository, Table, Update
from commons.dynamodb.exceptions import StorageUnreachableError
from commons.records.generation import OpenGeneration
from commons.records.timer import TimerRecord
from commons.records.tool import OfferedTool
from commons.services.generation_endings import Ending, GenerationEndingsService
from commons.services.generations import GenerationsService
from commons.services.tool_calls import ToolCallsService

WORD = "milk"
"""In the arguments of every call of `pending_calls`, and in the result."""


def acted(storage: IRepository, alice: Client, *, ended: bool = True) -> str:
    """A channel in which calls were denied, made and left; 1 is the question."""
    offer(storage, "notes", OfferedTool(name="add", approval="anyone"))
    channel = alice.new_channel("bob", agent={"tools": ["notes.*"]})
    alice.say(channel, "note this")
    pending_calls(storage, channel, 1)
    calls = ToolCallsService(storage)
    row = GenerationsService(storage).find_open(channel, 1)
    assert row is not None
    denied, made, _left = calls.of_step(row, 0)
    path = f"/v1/channels/{channel}/tools/{{}}/decision"
    alice.post(path.format(denied.call_id), {"decision": "deny"})
    alice.post(path.format(made.call_id), {"decision": "approve"})
    item = storage.update(Table.CHANNELS, row.key, Update(set=HELD))
    row = OpenGeneration.model_validate(item)
    calls.finish(row, calls.start(row, made), "ok", f"noted: {WORD}")
    if ended:
        GenerationEndingsService(storage).end(row, Ending(text="Done."))
    return channel


def rows_with(storage: InMemoryRepository, word: str) -> list[object]:
    return [
        item
        for table in (Table.CHAT_EVENTS, Table.CHANNELS)
        for item in storage.all_items(table)
        if word in str(item)
    ]


@pytest.mark.parametrize("what", ["question", "reply"])
def test_arguments_and_results_leave_every_item(
    alice: Client, repository: InMemoryRepository, what: str
) -> None:
    channel = acted(repository, alice)
    reply = alice.get(f"/v1/channels/{channel}").body["lastSeq"]
    assert len(rows_with(repository, WORD)) == 7

    seq = 1 if what == "question" else reply
    assert alice.delete(f"/v1/channels/{channel}/messages/{seq}").status == 204

    assert rows_with(repository, WORD) == []
    assert not any("digest" in str(item) for item in repository.all_items(Table.CHANNELS))


def test_the_log_shows_them_emptied(alice: Client, repository: InMemoryRepository) -> None:
    channel = acted(repository, alice)
    before = alice.get(f"/v1/channels/{channel}/events").body["items"]

    alice.delete(f"/v1/channels/{channel}/messages/1")

    after = alice.get(f"/v1/channels/{channel}/events").body["items"]
    for old, new in zip(before, after, strict=False):
        match old["type"]:
            case "tool.requested":
                emptied = {"arguments": {}, "redacted": True}
            case "tool.finished":
                emptied = {"result": "", "redacted": True}
            case "message.created" if old["seq"] == 1:
                emptied = {"text": "", "redacted": True}
            case _:
                emptied = {}
        assert new == {**old, "data": {**old["data"], **emptied}}


def test_the_calls_of_other_questions_stay(alice: Client, repository: InMemoryRepository) -> None:
    channel = acted(repository, alice)
    other = alice.say(channel, "note this, too")
    pending_calls(repository, channel, other)

    alice.delete(f"/v1/channels/{channel}/messages/1")

    assert len(rows_with(repository, WORD)) == 6


def test_deleting_a_question_ends_the_reply_that_waits_for_a_decision(
    alice: Client, repository: InMemoryRepository
) -> None:
    offer(repository, "notes", OfferedTool(name="add", approval="anyone"))
    channel = alice.new_channel("bob", agent={"tools": ["notes.*"]})
    asked = alice.as_user("bob").say(channel, "note this")
    pending_calls(repository, channel, asked)

    assert alice.delete(f"/v1/channels/{channel}/messages/{asked}").status == 204

    *_, last = alice.get(f"/v1/channels/{channel}/events").body["items"]
    assert (last["data"]["finishReason"], last["data"]["text"]) == ("cancelled", "")
    assert alice.event_types(channel).count("tool.decided") == 3
    assert alice.get(f"/v1/channels/{channel}/generations").body["items"] == []
    assert rows_with(repository, WORD) == []


def test_what_a_call_comes_to_after_its_question_was_deleted_is_told_to_nobody(
    alice: Client, repository: InMemoryRepository
) -> None:
    channel = acted(repository, alice, ended=False)
    row = GenerationsService(repository).find_open(channel, 1)
    assert row is not None
    calls = ToolCallsService(repository)
    left = calls.of_step(row, 0)[2]
    alice.post(f"/v1/channels/{channel}/tools/{left.call_id}/decision", {"decision": "approve"})
    calls.start(row, left)
    alice.delete(f"/v1/channels/{channel}/messages/1")

    event = calls.finish(row, left, "ok", f"noted: {WORD}")

    assert event is not None
    assert event.to_wire()["data"]["result"] == ""
    assert rows_with(repository, WORD) == []


def test_whichever_call_of_a_deletion_fails_its_repetition_or_the_timer_empties_the_rest(
    make_api: MakeApi,
) -> None:
    for at_call in range(1, 60):
        storage = InMemoryRepository()
        failing = FailingRepository(storage)
        alice = make_api(failing)
        channel = acted(storage, alice)
        failing.arm(Failure(at_call, StorageUnreachableError))
        status = alice.delete(f"/v1/channels/{channel}/messages/1").status
        has_failed = failing.has_failed
        failing.arm(None)

        is_deleted = "message.deleted" in alice.event_types(channel)
        timers = [
            TimerRecord.model_validate(item)
            for item in storage.all_items(Table.CHANNELS)
            if "calls.empty" in str(item["sk"])
        ]
        assert len(timers) == int(is_deleted)
        assert status == (503 if has_failed else 204)
        assert alice.delete(f"/v1/channels/{channel}/messages/1").status == 204
        assert rows_with(storage, WORD) == []
        if not has_failed:
            assert at_call > 5
            return
    raise AssertionError("a deletion makes more calls than were tried")
