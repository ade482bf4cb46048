"""Channels of a soak: made, waited for, read whole."""

import time
from collections.abc import Sequence

from tests.e2e.clients import Json
from tests.soak.caller import Caller

GRACE_SECONDS = 60.0
"""What is open past the deadline is waited for a little longer, to say how late it was."""


def new_channel(
    owner: Caller, name: str, *, members: Sequence[str] = (), max_tokens: int | None = None
) -> str:
    """Its agent answers every message."""
    agent: Json = {"mode": "always"}
    if max_tokens is not None:
        agent["maxTokens"] = max_tokens
    body = {"name": name, "members": list(members), "agent": agent}
    answer, _ = owner.call("POST", "/channels", 201, json=body)
    channel_id: str = answer.json()["channelId"]
    return channel_id


def wait_until_all_has_ended(member: Caller, channels: Sequence[str], deadline: float) -> None:
    """Epoch seconds; what is open past the deadline is for the verdict to tell."""
    left = list(channels)
    while left and time.time() < deadline + GRACE_SECONDS:
        left = [channel for channel in left if not _has_ended(member, channel)]
        time.sleep(0.5)


def _has_ended(member: Caller, channel: str) -> bool:
    """Nothing is open, nor yet to be dispatched."""
    listed, _ = member.call("GET", f"/channels/{channel}/generations", 200)
    if listed.json()["items"]:
        return False
    log = read_log(member, channel)
    questions = {event["seq"] for event in log if is_question(event)}
    return questions <= {question_of(event) for event in log if is_end(event)}


def is_question(event: Json) -> bool:
    return bool(event["type"] == "message.created" and event["sender"]["kind"] == "user")


def is_end(event: Json) -> bool:
    return bool(event["sender"]["kind"] == "agent")


def question_of(end: Json) -> int:
    """Which question an end is of."""
    seq: int = end["data"].get("replyTo", end["data"].get("target"))
    return seq


def read_log(member: Caller, channel: str) -> list[Json]:
    """All events of a channel, page by page."""
    events: list[Json] = []
    while True:
        after = events[-1]["seq"] if events else 0
        answer, _ = member.call(
            "GET", f"/channels/{channel}/events", 200, params={"after": after, "limit": 100}
        )
        page = answer.json()
        events += page["items"]
        if not page["hasMore"]:
            return events
