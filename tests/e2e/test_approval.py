"""An agent that acts, on the running stack: approved by the right person, done once."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
from tests.e2e.clients import REPLY_TIMEOUT, Json, Redeploy, RestClient, Socket, eventually, spoken

from devstack.local_stack import LocalStack

type Connect = Callable[..., AbstractContextManager[Socket]]


@dataclass
class Note:
    """A text that no other test notes, and what the demo's server of notes has of it."""

    local_stack: LocalStack
    text: str = field(default_factory=lambda: f"milk-{uuid4()}")

    @property
    def question(self) -> str:
        """On which the demo model asks for the call."""
        return f"note: {self.text}"

    def written(self) -> list[Json]:
        url = self.local_stack.demo_notes_url()
        assert url is not None
        return [each for each in httpx.get(url).json()["notes"] if self.text in each["text"]]


@pytest.fixture
def note(local_stack: LocalStack) -> Note:
    return Note(local_stack)


@pytest.fixture
def channel(alice: RestClient) -> str:
    """Alice's, with bob in it, whose agent may look at the clock and add notes."""
    channel = alice.create_channel("bob", mode="always")
    agent = {"tools": ["clock.now", "notes.*"]}
    alice.call("PATCH", f"/channels/{channel}", 200, json={"agent": agent})
    return channel


@pytest.fixture
def socket(connect: Connect, bob: RestClient, channel: str) -> Iterator[Socket]:
    with connect(bob, channels=[channel]) as socket:
        yield socket


def of_type(events: list[Json], event_type: str) -> list[Json]:
    return [event for event in events if event["type"] == event_type]


def wait_for(socket: Socket, channel: str, event_type: str) -> Json:
    def has_come(_frames: list[Json]) -> bool:
        return bool(of_type(socket.events(channel), event_type))

    socket.wait_for(has_come, REPLY_TIMEOUT)
    return of_type(socket.events(channel), event_type)[0]


def reply_to(socket: Socket, channel: str, question: int) -> Json:
    def replies() -> list[Json]:
        return [
            event
            for event in of_type(socket.events(channel), "message.created")
            if event["data"].get("replyTo") == question
        ]

    socket.wait_for(lambda _frames: bool(replies()), REPLY_TIMEOUT)
    return replies()[0]


def open_statuses(client: RestClient, channel: str) -> list[str]:
    answer = client.call("GET", f"/channels/{channel}/generations", 200).json()
    return [item["status"] for item in answer["items"]]


def decide(client: RestClient, channel: str, call_id: str, decision: str, status: int) -> Json:
    path = f"/channels/{channel}/tools/{call_id}/decision"
    answer: Json = client.call("POST", path, status, json={"decision": decision}).json()
    return answer


def test_a_tool_that_only_reads_is_called_without_asking_anybody(
    alice: RestClient, socket: Socket, channel: str
) -> None:
    question = alice.post(channel, "What time is it?")["seq"]

    reply = reply_to(socket, channel, question)

    asked, told = reply["data"]["text"].split("\n\n")
    assert "clock_now" in asked
    assert str(datetime.now(UTC).year) in told
    assert spoken(socket.deltas(channel, question)) == reply["data"]["text"]
    requested = wait_for(socket, channel, "tool.requested")
    assert (requested["data"]["tool"], requested["data"]["approval"]) == ("clock.now", "none")
    assert wait_for(socket, channel, "tool.finished")["data"]["outcome"] == "ok"
    assert of_type(socket.events(channel), "tool.decided") == []


def test_a_call_waits_for_who_asked_and_is_made_once(
    alice: RestClient,
    bob: RestClient,
    socket: Socket,
    channel: str,
    note: Note,
) -> None:
    question = alice.post(channel, note.question)["seq"]
    requested = wait_for(socket, channel, "tool.requested")["data"]
    eventually(lambda: open_statuses(bob, channel) == ["waiting"])
    assert requested["arguments"] == {"text": note.text}
    assert note.written() == []

    decide(bob, channel, requested["callId"], "approve", 403)
    decided = decide(alice, channel, requested["callId"], "approve", 200)

    assert decided["sender"]["id"] == "alice"
    reply = reply_to(socket, channel, question)
    (written,) = note.written()
    assert (written["key"], written["times"]) == (requested["callId"], 1)
    assert "is written down" in reply["data"]["text"]
    assert spoken(socket.deltas(channel, question)) == reply["data"]["text"]
    assert open_statuses(bob, channel) == []


def test_a_call_is_decided_about_by_websocket(
    alice: RestClient, connect: Connect, channel: str, note: Note
) -> None:
    with connect(alice, channels=[channel]) as socket:
        question = alice.post(channel, note.question)["seq"]
        call_id = wait_for(socket, channel, "tool.requested")["data"]["callId"]

        answer = socket.ask("decide", channelId=channel, callId=call_id, decision="approve")

        assert answer["type"] == "ack"
        assert "is written down" in reply_to(socket, channel, question)["data"]["text"]
    assert len(note.written()) == 1


def test_a_denied_call_is_not_made_and_the_reply_goes_on(
    alice: RestClient, socket: Socket, channel: str, note: Note
) -> None:
    question = alice.post(channel, note.question)["seq"]
    call_id = wait_for(socket, channel, "tool.requested")["data"]["callId"]

    decide(alice, channel, call_id, "deny", 200)

    assert "denied" in reply_to(socket, channel, question)["data"]["text"]
    assert note.written() == []


def test_a_cancel_ends_a_waiting_reply_at_once_and_its_call_is_never_made(
    alice: RestClient, socket: Socket, channel: str, note: Note
) -> None:
    question = alice.post(channel, note.question)["seq"]
    call_id = wait_for(socket, channel, "tool.requested")["data"]["callId"]
    eventually(lambda: open_statuses(alice, channel) == ["waiting"])

    began = time.monotonic()
    alice.call("POST", f"/channels/{channel}/generations/cancel", 202, json={})
    reply = reply_to(socket, channel, question)

    assert time.monotonic() - began < 2
    assert reply["data"]["finishReason"] == "cancelled"
    assert wait_for(socket, channel, "tool.decided")["data"]["decision"] == "cancelled"
    assert decide(alice, channel, call_id, "approve", 409)["decision"] == "cancelled"
    assert note.written() == []


@pytest.mark.alone
@pytest.mark.rare
def test_a_call_that_waits_survives_the_end_of_the_stack(
    alice: RestClient,
    connect: Connect,
    channel: str,
    note: Note,
) -> None:
    with connect(alice, channels=[channel]) as socket:
        question = alice.post(channel, note.question)["seq"]
        call_id = wait_for(socket, channel, "tool.requested")["data"]["callId"]
        eventually(lambda: open_statuses(alice, channel) == ["waiting"])

    note.local_stack.down()
    note.local_stack.up()

    assert open_statuses(alice, channel) == ["waiting"]
    with connect(alice, channels=[channel]) as socket:
        decide(alice, channel, call_id, "approve", 200)
        assert "is written down" in reply_to(socket, channel, question)["data"]["text"]
    (written,) = note.written()
    assert written["times"] == 1


@pytest.mark.alone
@pytest.mark.rare
def test_a_call_that_nobody_decides_expires_by_itself_and_is_never_made(
    alice: RestClient, channel: str, note: Note, redeploy: Redeploy
) -> None:
    redeploy("workers", {"ApprovalTimeout": "60"})
    question = alice.post(channel, note.question)["seq"]

    def come() -> list[Json]:
        return of_type(alice.events(channel), "tool.decided")

    eventually(lambda: come() != [], timeout=60 + 60 + 20)
    eventually(lambda: alice.events(channel)[-1]["data"].get("replyTo") == question)

    (decided,) = come()
    assert (decided["data"]["decision"], decided["sender"]["kind"]) == ("expired", "system")
    assert (
        decide(alice, channel, decided["data"]["callId"], "approve", 409)["decision"] == "expired"
    )
    assert note.written() == []
