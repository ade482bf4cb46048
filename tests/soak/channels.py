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
    while time.time() < deadline + GRACE_SECONDS:
        pages = [
            member.call("GET", f"/channels/{channel}/generations", 200)[0].json()["items"]
            for channel in channels
        ]
        if not any(pages):
            return
        time.sleep(0.5)


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
