"""MCP servers that others published, unchanged: what they list is offered, what is called is done.

Each needs the network once, to be installed; `poe test-published-servers` runs them.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Table
from commons.records.tool import ToolServerRecord
from devstack.config import ROOT
from devstack.emulator import uv
from devstack.processes import free_port
from workers_tools.composition import Services, build_services
from workers_tools.schemas import CallAnswer, CallRequest
from workers_tools.settings import ToolsSettings

pytestmark = pytest.mark.timeout(600)

EVERYTHING = "@modelcontextprotocol/server-everything@2026.8.31"
EXCEL = "excel-mcp-server==2.2.2"
START_SECONDS = 300.0
"""Downloads included."""


@contextmanager
def running(command: Sequence[str], folder: Path, port: int, **environment: str) -> Iterator[str]:
    """A server's URL, once something answers there."""
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "UV": uv(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}/mcp"
        deadline = time.monotonic() + START_SECONDS
        while not answers(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=2)
    except httpx.ReadTimeout:
        return True
    except httpx.TransportError:
        return False
    return True


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The reference server of the protocol's authors, for Node."""
    port = free_port(4851)
    command = [
        *("sh", str(ROOT / "tools" / "node.sh"), "npm", "exec", "--yes", "--ignore-scripts"),
        *(f"--package={EVERYTHING}", "--", "mcp-server-everything", "streamableHttp"),
    ]
    folder = tmp_path_factory.mktemp("everything")
    with running(command, folder, port, PORT=str(port)) as url:
        yield url


@pytest.fixture(scope="module")
def excel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of many tools that read and write files, in Python."""
    port = free_port(4852)
    folder = tmp_path_factory.mktemp("excel")
    command = [
        *(uv(), "tool", "run", "--quiet", "--from", EXCEL, "excel-mcp-server"),
        *("streamable-http", "--host", "127.0.0.1", "--port", str(port)),
    ]
    with running(command, folder, port, EXCEL_FILES_PATH=str(folder)) as url:
        yield url


class Offered:
    """A stack that offers one server's tools."""

    def __init__(self, url: str) -> None:
        self.repository = InMemoryRepository()
        self.services: Services = build_services(
            ToolsSettings(tool_servers="/tools", tool_network="private"),
            self.repository,
            read_parameter=lambda _name: json.dumps([{"name": "theirs", "url": url}]),
            read_secret=lambda _arn: "",
        )
        self.refreshed = self.services.catalogue.refresh()

    def rules(self) -> dict[str, str]:
        row = self.repository.get(Table.CHANNELS, keys.tool_server_key("theirs"))
        return {tool.name: tool.approval for tool in ToolServerRecord.model_validate(row).tools}

    def call(self, tool: str, seconds: float = 20.0, /, **arguments: object) -> CallAnswer:
        request = CallRequest(
            action="call",
            server="theirs",
            tool=tool,
            arguments=arguments,
            call_id=f"call-of-{tool}",
            timeout_seconds=seconds,
        )
        return self.services.calling.call(request)


def test_the_reference_server_works_unchanged(everything: str) -> None:
    offered = Offered(everything)

    assert offered.refreshed.unread == []
    assert {"echo", "get-sum", "get-tiny-image"} <= offered.rules().keys()
    assert offered.call("echo", message="hello").text == "Echo: hello"
    assert "3" in offered.call("get-sum", a=1, b=2).text
    assert "[An image (image/png), which is not shown.]" in offered.call("get-tiny-image").text
    weather = offered.call("get-structured-content", location="New York")
    assert json.loads(weather.text).keys() == {"temperature", "conditions", "humidity"}
    assert "which is not opened" in offered.call("get-resource-links", count=2).text
    wrong = offered.call("get-sum", a="one", b=2)
    assert (wrong.outcome, wrong.reason) == ("error", "tool_error")


def test_the_reference_server_may_take_its_time_but_no_longer(everything: str) -> None:
    offered = Offered(everything)

    done = offered.call("trigger-long-running-operation", duration=1, steps=4)
    late = offered.call("trigger-long-running-operation", 1.0, duration=30, steps=4)

    assert done.outcome == "ok"
    assert (late.outcome, late.reason) == ("error", "timeout")


def test_a_server_that_writes_files_works_unchanged(excel: str) -> None:
    offered = Offered(excel)

    made = offered.call("create_workbook", path="book.xlsx")
    listed = offered.call("list_workbooks")

    assert offered.refreshed.tools > 20
    assert made.outcome == "ok", made.text
    assert "book.xlsx" in listed.text
    rules = offered.rules()
    assert (rules["read_range"], rules["create_workbook"]) == ("none", "requester")
