"""Calls folded from events, and what is said of them."""

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from chat_client import Event
from chat_client.models import EVENT
from chat_client.terminal.calls import arguments_text, visible
from chat_client.tool_calls import ToolCalls, may_decide, rule_in_force

PLACE = {"target": 1, "generation": 1, "callId": "c1"}
REQUEST = {**PLACE, "tool": "notes.add", "arguments": {"text": "milk"}, "approval": "requester"}


def event(seq: int, event_type: str, data: dict[str, Any], by: str = "#agent") -> Event:
    return EVENT.validate_python(
        {
            "channelId": "room",
            "seq": seq,
            "type": event_type,
            "createdAt": datetime(2026, 1, 2, tzinfo=UTC),
            "sender": {"id": by, "kind": "agent" if by == "#agent" else "user"},
            "data": data,
        }
    )


REQUESTED = event(2, "tool.requested", REQUEST)
APPROVED = event(3, "tool.decided", {**PLACE, "decision": "approved"}, "bob")
FINISHED = event(4, "tool.finished", {**PLACE, "outcome": "ok", "result": "noted"})


def folded(*events: Event) -> ToolCalls:
    calls = ToolCalls()
    for each in events:
        calls.apply(each)
    return calls


def test_a_call_is_what_its_events_say_whatever_their_order() -> None:
    expected = folded(REQUESTED, APPROVED, FINISHED).all

    for order in permutations([REQUESTED, APPROVED, FINISHED]):
        assert folded(*order, *order).all == expected
    assert (expected[0].state, expected[0].result) == ("ok", "noted")


def test_the_first_decision_stands() -> None:
    denied = event(5, "tool.decided", {**PLACE, "decision": "denied"}, "eve")

    assert folded(REQUESTED, APPROVED, denied).all[0].state == "running"


def test_what_is_deleted_is_emptied_and_stays_empty() -> None:
    calls = folded(REQUESTED, APPROVED)

    calls.empty(1)
    calls.apply(FINISHED)

    assert (calls.all[0].arguments, calls.all[0].result) == ({}, "")


@pytest.mark.parametrize(
    ("rule", "channels", "expected"),
    [
        ("anyone", "requester", "requester"),
        ("owner", "anyone", "owner"),
        ("requester", "council", "council"),
    ],
)
def test_the_stricter_rule_is_in_force(rule: str, channels: str, expected: str) -> None:
    call = folded(event(2, "tool.requested", {**REQUEST, "approval": rule})).all[0]

    assert rule_in_force(call, {"notes.add": channels}) == expected


def test_who_may_decide_is_said_by_the_rule() -> None:
    assert may_decide("anyone", is_owner=False, is_requester=False)
    assert may_decide("requester", is_owner=False, is_requester=True)
    assert not may_decide("requester", is_owner=True, is_requester=False)
    assert may_decide("owner", is_owner=True, is_requester=False)
    assert not may_decide("owner", is_owner=False, is_requester=True)
    assert not may_decide("council", is_owner=True, is_requester=True)


def test_what_a_terminal_would_obey_or_nobody_would_see_is_written_out() -> None:
    hostile = "a\x1b[2Jb\u202ec\u200bd\ufe0fe\u3164f\r"

    shown = visible(hostile)

    assert shown == "a\\u{1b}[2Jb\\u{202e}c\\u{200b}d\\u{fe0f}e\\u{3164}f\\u{d}"


def test_an_argument_cannot_be_taken_for_another() -> None:
    arguments = {"a": "true", "b": True, "c": "x: 1\nb: 2", "d": [1], "e": ""}
    call = folded(event(2, "tool.requested", {**REQUEST, "arguments": arguments})).all[0]

    shown = arguments_text(call)

    assert shown.splitlines()[:5] == ['a: "true"', "b: true", "c:", "    x: 1", "    b: 2"]
    assert shown.endswith('e: ""')
