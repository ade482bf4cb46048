"""The commands as a newcomer types them, against the session's stack (CONTRACT, section 1)."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from urllib.parse import urlencode

import httpx
import psutil
import pytest
from tests.e2e.clients import RestClient, Socket, open_socket
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect as connect_socket

from devstack.config import ROOT
from devstack.local_stack import LocalStack
from devstack.outputs import Outputs

type Run = Callable[..., subprocess.CompletedProcess[str]]
type Connect = Callable[..., AbstractContextManager[Socket]]

POE = str(Path(sys.executable).with_name("poe"))
pytestmark = pytest.mark.alone

END_SECONDS = 15
"""How long ending may take, whatever is open (CONTRACT, section 1)."""

IMPATIENT = 3


@pytest.fixture(scope="module")
def environment(local_stack: LocalStack) -> dict[str, str]:
    return {
        **os.environ,
        "CHAT_PORT": str(local_stack.config.port),
        "CHAT_LOCAL_DIR": str(local_stack.config.local_dir),
    }


@pytest.fixture(scope="module")
def poe(environment: dict[str, str]) -> Run:
    def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [POE, *arguments],
            cwd=ROOT,
            env=environment | extra,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


@pytest.fixture(scope="module", autouse=True)
def back_up(local_stack: LocalStack) -> Iterator[None]:
    """The tests after these find the stack up again."""
    yield
    local_stack.up()


def processes_of(local_stack: LocalStack) -> list[psutil.Process]:
    """Whatever runs for that stack: its folder or its ports are on the command line."""
    marks = (str(local_stack.config.state_dir), f"--port {local_stack.config.port + 1}")
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "status"]):
        if process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        described = [*(process.info["cmdline"] or []), *(process.info["environ"] or {}).values()]
        if any(mark in " ".join(described) for mark in marks):
            found.append(process)
    return found


def test_outputs_hold_what_a_client_needs_and_work_as_they_stand(local_stack: LocalStack) -> None:
    outputs = json.loads(local_stack.config.outputs_file.read_text())

    assert outputs.keys() == {
        "stage",
        "region",
        "endpoint",
        "restUrl",
        "websocketUrl",
        "issuer",
        "audience",
        "jwksUrl",
    }
    health = httpx.get(outputs["restUrl"] + "/v1/health", timeout=30)
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert httpx.get(outputs["jwksUrl"], timeout=30).json()["keys"]


def test_token_prints_one_token_of_a_new_user_and_nothing_else(poe: Run, outputs: Outputs) -> None:
    printed = poe("token", "dora")

    assert printed.returncode == 0, printed.stderr
    (token,) = printed.stdout.splitlines()
    credentials = {"Authorization": f"Bearer {token}"}
    me = httpx.get(f"{outputs.rest_url}/v1/me", headers=credentials, timeout=30)
    assert me.json()["userId"] == "dora"
    with open_socket(outputs.websocket_url, f"token={token}") as opened:
        assert opened.ask("ping")["type"] == "pong"


def test_up_a_second_time_changes_nothing(poe: Run, local_stack: LocalStack) -> None:
    before = local_stack.config.outputs_file.read_text()
    pids = {process.pid for process in processes_of(local_stack)}

    again = poe("up")

    assert again.returncode == 0, again.stderr
    assert "Deploy" not in again.stdout
    assert local_stack.config.outputs_file.read_text() == before
    assert pids <= {process.pid for process in processes_of(local_stack)}


def test_status_says_what_runs(poe: Run, outputs: Outputs) -> None:
    status = poe("status")

    assert status.returncode == 0
    assert outputs.rest_url in status.stdout
    for name in ("data", "websocket", "workers", "rest"):
        assert any(line.split() == [name, "deployed"] for line in status.stdout.splitlines())


def test_the_demo_shows_the_question_and_the_reply_arriving(poe: Run) -> None:
    demo = poe("demo")

    assert demo.returncode == 0, demo.stderr
    assert "  alice  Hello Bob!" in demo.stdout
    assert "  agent  I am a scripted demo model" in demo.stdout


def test_a_taken_port_is_a_clear_error_that_names_it(poe: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        refused = poe("up", CHAT_PORT=str(port), CHAT_LOCAL_DIR=str(tmp_path))

    assert refused.returncode == 1
    assert f"Port {port} is taken" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.fixture
def sockets_that_come_back(outputs: Outputs, carol: RestClient) -> Iterator[None]:
    """Of which each is opened again in the moment in which it is closed."""
    is_over = threading.Event()
    url = f"{outputs.websocket_url}?{urlencode({'token': carol.token})}"

    def come_back() -> None:
        while not is_over.is_set():
            with (
                suppress(OSError, WebSocketException),
                connect_socket(url, close_timeout=0.5) as to,
            ):
                while not is_over.is_set():
                    with suppress(TimeoutError):
                        to.recv(timeout=0.1)

    with ThreadPoolExecutor(IMPATIENT) as threads:
        for _ in range(IMPATIENT):
            threads.submit(come_back)
        yield
        is_over.set()


@pytest.mark.usefixtures("sockets_that_come_back")
def test_down_with_open_sockets_ends_everything_and_up_brings_it_back_with_its_state(
    poe: Run,
    local_stack: LocalStack,
    alice: RestClient,
    bob: RestClient,
    connect: Connect,
) -> None:
    channel = alice.create_channel("bob", mode="always")
    alice.post(channel, "before")
    with ExitStack() as sockets:
        for client in (alice, alice, bob):
            sockets.enter_context(connect(client, channels=[channel]))
        started = time.monotonic()
        down = poe("down")
        seconds = time.monotonic() - started

    assert down.returncode == 0, down.stderr
    assert seconds < END_SECONDS, down.stdout
    assert "killed" not in down.stdout
    assert processes_of(local_stack) == []
    assert not local_stack.config.outputs_file.exists()

    assert poe("up").returncode == 0
    assert alice.events(channel)[0]["data"]["text"] == "before"
    with connect(bob, channels=[channel]) as listener:
        question = alice.post(channel, "after")
        listener.wait_for(
            lambda _frames: any(
                event["data"].get("replyTo") == question["seq"]
                for event in listener.events(channel)
            )
        )


@pytest.mark.rare
def test_run_brings_back_a_dead_emulator_plays_the_demo_and_ends_on_ctrl_c_with_sockets_open(
    poe: Run,
    environment: dict[str, str],
    local_stack: LocalStack,
    alice: RestClient,
    connect: Connect,
) -> None:
    # An emulator that dies loses what came since its start: the stacks are to be older than that.
    local_stack.down()
    local_stack.up()
    (emulator,) = (
        process
        for process in processes_of(local_stack)
        if process.cmdline()[-1].endswith("emulator_main.py")
    )
    emulator.kill()
    psutil.wait_procs([emulator], timeout=10)
    assert "emulator    stopped" in poe("status").stdout
    refused = poe("token", "alice")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "not up" in refused.stderr

    with subprocess.Popen(
        [sys.executable, "-m", "devstack", "run"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            assert running.stdout is not None
            printed = ""
            for line in running.stdout:
                printed += line
                if "Ctrl-C" in line:
                    break
            assert "  agent  " in printed
            with connect(alice):
                started = time.monotonic()
                os.killpg(running.pid, signal.SIGINT)
                code = running.wait(2 * END_SECONDS)
                seconds = time.monotonic() - started
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)

    assert code == 0
    assert seconds < END_SECONDS
    assert processes_of(local_stack) == []


@pytest.mark.rare
def test_a_socket_that_is_open_when_the_emulator_ends_does_not_keep_it_from_saving(
    local_stack: LocalStack, alice: RestClient, connect: Connect
) -> None:
    local_stack.up()
    channel = alice.create_channel()
    try:
        with connect(alice, channels=[channel]):
            assert local_stack._emulator.stop() == "ended"
    finally:
        local_stack.up()

    assert alice.call("GET", f"/channels/{channel}", 200).json()["channelId"] == channel


@pytest.mark.rare
def test_run_once_exits_after_the_demo_and_leaves_nothing_running(
    environment: dict[str, str], local_stack: LocalStack
) -> None:
    # What runs already is left running: it takes down what it has brought up.
    local_stack.down()
    once = subprocess.run(
        [sys.executable, "-m", "devstack", "run", "--once"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert once.returncode == 0, once.stderr
    assert "  agent  " in once.stdout
    assert processes_of(local_stack) == []
