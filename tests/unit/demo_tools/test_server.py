"""The demo's tools, as the function that calls tools sees them."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
import uvicorn

from devstack.demo_tools.server import build_app
from workers_tools.contents import text_of
from workers_tools.conversation import Conversations, Peer

CONVERSATIONS = Conversations(network="private", read_bytes=65_536)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    config = uvicorn.Config(
        build_app(tmp_path / "state" / "notes.json"), port=0, log_level="critical", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


def call(url: str, server: str, tool: str, call_id: str, **arguments: str) -> str:
    async def main() -> str:
        result = await CONVERSATIONS.call(
            Peer(f"{url}/{server}/mcp"),
            tool,
            arguments,
            input_schema="",
            call_id=call_id,
            seconds=20,
        )
        return text_of(result)

    return anyio.run(main)


def test_the_clock_reads_and_the_notes_write(url: str) -> None:
    async def main() -> dict[str, bool | None]:
        hints = {}
        for server in ("clock", "notes"):
            for tool in await CONVERSATIONS.tools(Peer(f"{url}/{server}/mcp"), seconds=20):
                assert tool.annotations is not None
                hints[f"{server}.{tool.name}"] = tool.annotations.read_only_hint
        return hints

    assert anyio.run(main) == {"clock.now": True, "notes.add": False}


def test_the_clock_tells_the_time(url: str) -> None:
    assert "+00:00" in call(url, "clock", "now", "call-1")


def test_a_note_is_there_once_however_often_its_call_is_made(url: str) -> None:
    call(url, "notes", "add", "call-1", text="milk")
    call(url, "notes", "add", "call-1", text="milk")
    call(url, "notes", "add", "call-2", text="bread")

    notes = httpx.get(f"{url}/notes").json()["notes"]

    assert [(note["text"], note["key"], note["times"]) for note in notes] == [
        ("milk", "call-1", 2),
        ("bread", "call-2", 1),
    ]
