"""What a command says when it cannot do what it is asked."""

import io
import os
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

from devstack import commands
from devstack.cli import main
from devstack.config import ROOT
from devstack.errors import DevstackError
from devstack.local_stack import LocalStack
from devstack.locks import exclusive
from devstack.outputs import Outputs
from devstack.processes import free_port
from devstack.progress import Progress

OUTPUTS = Outputs(
    stage="local",
    region="us-east-1",
    endpoint="http://127.0.0.1:4566",
    rest_url="http://127.0.0.1:4566/rest",
    websocket_url="ws://127.0.0.1:4566/ws",
    issuer="https://issuer/pool",
    audience="client",
    jwks_url="http://127.0.0.1:4566/pool/jwks.json",
)


def test_a_command_that_needs_the_stack_says_how_to_bring_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAT_LOCAL_DIR", str(tmp_path))

    assert main(["token", "alice"]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "run poe up" in printed.err


def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAT_PORT", "http")

    assert main(["status"]) == 1
    said = capsys.readouterr().err
    assert "CHAT_PORT: Input should be a valid integer" in said
    assert "'http'" in said


def test_a_name_that_nobody_can_have_gets_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAT_LOCAL_DIR", str(tmp_path))

    assert main(["token", "bad user!"]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "'bad user!' is no user id" in printed.err


@pytest.mark.parametrize("command", [["up"], ["run", "--once"]])
def test_a_wrong_model_server_stops_a_command_before_it_starts_anything(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CHAT_LOCAL_DIR", str(tmp_path))
    monkeypatch.setenv("CHAT_PORT", str(free_port(4840)))
    monkeypatch.setenv("CHAT_MODEL_URL", "127.0.0.1:11434/v1")
    monkeypatch.setenv("CHAT_MODEL", "llama3.2")

    assert main(command) == 1

    printed = capsys.readouterr()
    assert "CHAT_MODEL_URL is a whole URL" in printed.err
    assert "ok" not in printed.out.split()


def test_stopping_what_does_not_run_is_harmless_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAT_LOCAL_DIR", str(tmp_path))

    assert main(["down"]) == 0
    assert "Nothing was running." in capsys.readouterr().out


def test_run_leaves_a_stack_alone_that_ran_before(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def refuse(_stack: LocalStack) -> Outputs:
        raise DevstackError("This stack already runs on port 4566")

    monkeypatch.setattr(LocalStack, "up", refuse)
    monkeypatch.setattr(LocalStack, "down", lambda _stack: ended.append("down"))
    for was_running in (True, False):
        monkeypatch.setattr(LocalStack, "is_running", lambda _stack, runs=was_running: runs)

        assert main(["run", "--once"]) == 1

        assert ended == ([] if was_running else ["down"])


def test_an_error_ends_with_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "deploy.log"
    log.write_text("\n".join(f"line {n}" for n in range(100)))

    explained = DevstackError("`sam deploy` of data failed.", log=log).explain()

    assert explained.startswith("`sam deploy` of data failed.\n")
    assert explained.endswith("line 99")
    assert "line 10\n" not in explained


def test_each_step_prints_one_line_with_its_outcome() -> None:
    stream = io.StringIO()
    progress = Progress(stream)

    with progress.step("Deploy data"):
        pass
    with pytest.raises(DevstackError), progress.step("Deploy rest"):
        raise DevstackError("no")

    good, bad = stream.getvalue().splitlines()
    assert good.split() == ["ok", "0.0", "s", "Deploy", "data"]
    assert bad.split() == ["failed", "0.0", "s", "Deploy", "rest"]


@pytest.mark.parametrize(
    ("on_path", "typed"), [(True, "uv run poe up"), (False, ".local/uv/bin/uv run poe up")]
)
def test_a_command_is_printed_as_it_works_here(
    on_path: bool, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UV", str(ROOT / ".local" / "uv" / "bin" / "uv"))
    if on_path:
        shim = tmp_path / "uv"
        shim.write_text("#!/bin/sh\nexit 0\n")
        shim.chmod(0o755)
    commands._uv_as_typed.cache_clear()

    assert commands.poe("up") == typed

    commands._uv_as_typed.cache_clear()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_what_runs_stays_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((40, 24)))
    stream = Terminal()
    progress = Progress(stream)

    with progress.step("Build websocket"), progress.step("Build workers"), progress.step("Build"):
        pass

    shown = [line.removeprefix("\x1b[K") for line in re.split("[\r\n]", stream.getvalue())]
    assert any("Build websocket" in line for line in shown)
    assert max(len(line) for line in shown if "..." in line) == 39


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_step_that_takes_long_shows_that_it_lives(stream: io.StringIO) -> None:
    progress = Progress(stream, tick=0.001, sign_of_life=0.001)

    with progress.step("Warm-up"):
        deadline = time.monotonic() + 10
        while stream.getvalue().count("Warm-up") < 3:
            assert time.monotonic() < deadline


def test_a_second_command_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    stream = io.StringIO()
    order: list[str] = []

    def second() -> None:
        with exclusive(tmp_path / "lock", Progress(stream)):
            order.append("second")

    with exclusive(tmp_path / "lock", Progress(io.StringIO())):
        waiting = threading.Thread(target=second)
        waiting.start()
        deadline = time.monotonic() + 5
        while not stream.getvalue():
            assert time.monotonic() < deadline
        order.append("first")
    waiting.join()

    assert order == ["first", "second"]
    assert "Waiting" in stream.getvalue()


def test_outputs_are_written_in_the_agreed_names_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "outputs.json"

    OUTPUTS.write(file)

    assert Outputs.read(file) == OUTPUTS
    for name in (
        "stage",
        "region",
        "endpoint",
        "restUrl",
        "websocketUrl",
        "issuer",
        "audience",
        "jwksUrl",
    ):
        assert f'"{name}"' in file.read_text()
