"""Tools on the running stack: listed, called by the function that may, and changed by another `up`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack.config import STAGE
from devstack.local_stack import LocalStack

type Json = dict[str, Any]


def invoke(stack: LocalStack, event: Json) -> Json:
    answer = stack.clients.functions().invoke(
        FunctionName=f"chat-{STAGE}-workers_tools", Payload=json.dumps(event).encode()
    )
    body: Json = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    return body


def call(tool: str, call_id: str, **arguments: str) -> Json:
    server, _, name = tool.partition(".")
    return {
        "action": "call",
        "server": server,
        "tool": name,
        "arguments": arguments,
        "callId": call_id,
        "timeoutSeconds": 20,
    }


@pytest.fixture
def demo_tools_url(local_stack: LocalStack) -> str:
    url = local_stack.demo_notes_url()
    assert url is not None
    return url.removesuffix("/notes")


def test_a_note_is_written_by_the_tool_s_server(
    local_stack: LocalStack, demo_tools_url: str
) -> None:
    answer = invoke(local_stack, call("notes.add", "e2e-1", text="from the end-to-end tests"))

    assert answer["outcome"] == "ok"
    notes = httpx.get(f"{demo_tools_url}/notes").json()["notes"]
    (note,) = (each for each in notes if each["key"] == "e2e-1")
    assert (note["text"], note["times"]) == ("from the end-to-end tests", 1)


def test_a_tool_that_reads_answers(local_stack: LocalStack) -> None:
    answer = invoke(local_stack, call("clock.now", "e2e-2"))

    assert answer["outcome"] == "ok"
    assert "+00:00" in answer["text"]


def test_a_tool_that_nobody_offers_is_not_called(local_stack: LocalStack) -> None:
    assert invoke(local_stack, call("notes.remove", "e2e-3"))["outcome"] == "error"


@pytest.fixture
def other_tools(
    local_stack: LocalStack, tmp_path: Path, demo_tools_url: str
) -> Iterator[LocalStack]:
    """The same stack, brought up with another `CHAT_TOOLS`; afterwards with the demo's again."""
    file = tmp_path / "tools.json"
    described = {
        "name": "diary",
        "url": f"{demo_tools_url}/notes/mcp",
        "approval": {"add": "owner"},
    }
    file.write_text(json.dumps([described]))
    other = LocalStack(local_stack.config.model_copy(update={"tools": file}))
    try:
        other.up()
        yield other
    finally:
        local_stack.up()


@pytest.mark.alone
@pytest.mark.rare
def test_other_tools_are_offered_after_an_up_that_names_them(
    other_tools: LocalStack, demo_tools_url: str
) -> None:
    assert invoke(other_tools, {"action": "refresh"}) == {"servers": 1, "tools": 1, "unread": []}
    assert invoke(other_tools, call("diary.add", "e2e-4", text="dear diary"))["outcome"] == "ok"
    assert invoke(other_tools, call("notes.add", "e2e-5", text="gone"))["outcome"] == "error"
    assert "tools       of diary" in other_tools.status().lines
