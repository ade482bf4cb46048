"""The bad line as a program of its own, for tests in any language."""

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.fake_chat import FakeChat
from tests.unit.client.conftest import NewSession

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

ROOT = Path(__file__).parents[3]


async def test_it_runs_beside_any_test_and_is_told_by_http_what_to_do(
    chat: FakeChat, socket_url: str, new_session: NewSession
) -> None:
    program = [sys.executable, "-m", "tests.support.unruly_proxy", "--target", socket_url]
    line = await asyncio.create_subprocess_exec(
        *program,
        "--duplicate=1",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert line.stdin is not None
    assert line.stdout is not None
    url = json.loads(await line.stdout.readline())["url"]
    control = f"http://{urlsplit(url).netloc}/_proxy"
    async with httpx.AsyncClient(trust_env=False) as http, new_session(url=url) as session:
        await session.subscribe("room")
        events = session.events("room")
        chat.append()
        assert (await anext(events)).seq == 1
        assert (await http.get(f"{control}/cut")).status_code == 200
        chat.append()
        assert (await anext(events)).seq == 2
        stats = (await http.get(f"{control}/stats")).json()
        assert (await http.get(f"{control}/anything")).status_code == 404
    line.stdin.close()
    await line.wait()

    assert stats["connections"] == 2
    assert stats["duplicates"] > 0
    assert line.returncode == 0
