"""Calls of tools in words: what they are called with, who decides, what came of them."""

import json
import unicodedata
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from chat_client.models import ApprovalRule
from chat_client.tool_calls import ToolCall

_UNSEEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_UNSEEN_LETTERS: Final = frozenset(
    {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0}
    | {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
)
"""Letters and marks that nothing is seen of, whatever their category says."""


def visible(text: str) -> str:
    """A text in which whatever is not seen, or turns around what is, is written out.

    A terminal would obey some of it, and all of it would let arguments look like others.
    """
    return "".join(letter if _is_seen(letter) else f"\\u{{{ord(letter):x}}}" for letter in text)


def arguments_text(call: ToolCall) -> str:
    """All arguments: a text as it is, unless it could be taken for another value; others as JSON."""
    if call.redacted:
        return "(what it was called with was deleted)"
    if not call.arguments:
        return "(no arguments)"
    return "\n".join(_argument(name, value) for name, value in call.arguments.items())


def result_text(call: ToolCall) -> str:
    if call.redacted:
        return "(what it answered was deleted)"
    text = visible(call.result or "") or "(nothing)"
    return f"{text}\n(this is the beginning: the rest is not kept)" if call.truncated else text


def status_of(call: ToolCall, *, mine: bool, me: str) -> str:
    """What is said of a call beside its tool's name."""
    by = call.decided_by
    who = "you" if by and by.id == me else (by.name or by.id) if by else "somebody"
    approved = f", approved by {who}" if by and call.decision == "approved" else ""
    said = {
        "requested": "needs your approval" if mine else "waits for approval",
        "running": f"running{approved}",
        "ok": f"done{approved}",
        "error": f"failed{approved}",
        "unknown": f"outcome unknown{approved}: it is not called again",
        "denied": f"denied by {who}",
        "expired": "nobody decided in time",
        "cancelled": f"cancelled by {who}",
    }
    return said.get(call.state, call.state)


def who_decides(rule: ApprovalRule, asker: str, until: datetime | None) -> str:
    who = {
        "requester": "you decide" if asker == "you" else f"{asker or 'whoever asked'} decides",
        "owner": "an owner decides",
        "anyone": "any member may decide",
    }.get(rule, "somebody else decides")
    return f"{who}, until {until.astimezone():%d %b %H:%M}" if until else who


def _argument(name: str, value: JsonValue) -> str:
    text = _value(value)
    between = "\n    " if "\n" in text else " "
    return f"{visible(name)}:{between}{text.replace(chr(10), chr(10) + '    ')}"


def _value(value: JsonValue) -> str:
    if isinstance(value, str) and value and value == value.strip() and not _is_json(value):
        return visible(value)
    return visible(json.dumps(value, ensure_ascii=False, indent=2))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _is_seen(letter: str) -> bool:
    if letter in "\n\t":
        return True
    return unicodedata.category(letter) not in _UNSEEN_CATEGORIES and (
        ord(letter) not in _UNSEEN_LETTERS
    )
