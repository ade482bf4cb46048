"""The demo's judgement of what bob's socket shows."""

import io

import pytest

from devstack.demo import Json, _Shown
from devstack.errors import DevstackError

QUESTION = {"seq": 1, "type": "message.created", "data": {"text": "Hello"}}


def delta(text: str, **fields: object) -> Json:
    return {"type": "delta", "channelId": "c", "replyTo": 1, "text": text, **fields}


def reply(text: str) -> Json:
    return {"seq": 2, "type": "message.created", "data": {"text": text, "replyTo": 1}}


@pytest.fixture
def terminal() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def shown(terminal: io.StringIO) -> _Shown:
    return _Shown(1, terminal)


def test_pieces_appear_as_they_come(shown: _Shown, terminal: io.StringIO) -> None:
    shown.event(QUESTION)
    shown.delta(delta("I am "))
    shown.delta(delta("scripted"))
    assert terminal.getvalue() == "  alice  Hello\n  agent  I am scripted"

    shown.event(reply("I am scripted"))
    shown.check()


def test_a_snapshot_begins_the_reply_anew(shown: _Shown) -> None:
    shown.event(QUESTION)
    shown.delta(delta("I was "))
    shown.delta(delta("I am ", snapshot=True))
    shown.delta(delta("here"))
    shown.event(reply("I am here"))

    shown.check()


def test_pieces_that_do_not_add_up_fail_the_demo(shown: _Shown) -> None:
    shown.event(QUESTION)
    shown.delta(delta("I am"))
    shown.event(reply("I am here"))

    with pytest.raises(DevstackError, match="do not add up"):
        shown.check()


def test_a_reply_in_one_piece_fails_the_demo(shown: _Shown) -> None:
    shown.event(QUESTION)
    shown.event(reply("I am here"))

    with pytest.raises(DevstackError, match="came whole"):
        shown.check()


def test_a_failed_agent_fails_the_demo_with_its_reason(shown: _Shown) -> None:
    failed = {"seq": 2, "type": "agent.failed", "data": {"target": 1, "reason": "throttled"}}

    with pytest.raises(DevstackError, match="throttled"):
        shown.event(failed)


def test_what_is_missing_is_named(shown: _Shown) -> None:
    assert shown.missing() == "alice's message"
    shown.event(QUESTION)
    assert shown.missing() == "any piece of the agent's reply"
    shown.delta(delta("I "))
    assert shown.missing() == "the agent's final message"


def test_a_call_that_the_agent_asks_for_is_shown_with_its_arguments(
    shown: _Shown, terminal: io.StringIO
) -> None:
    data = {"target": 1, "callId": "c1", "tool": "notes.add", "arguments": {"text": "Öl"}}

    shown.event({"seq": 2, "type": "tool.requested", "data": data})
    shown.event({"seq": 3, "type": "tool.requested", "data": data | {"target": 9, "callId": "c2"}})

    assert shown.call_id == "c1"
    assert terminal.getvalue() == '\n  agent  asks to call notes.add {"text": "Öl"}\n'


def test_pieces_of_another_reply_are_passed_over(shown: _Shown, terminal: io.StringIO) -> None:
    shown.delta(delta("elsewhere") | {"replyTo": 7})

    assert terminal.getvalue() == ""
