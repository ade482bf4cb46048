"""What a command says when it cannot do what it is asked."""

import io
import threading
import time
from pathlib import Path

import pytest

from devstack.cli import main
from devstack.errors import DevstackError
from devstack.locks import exclusive
from devstack.outputs import Outputs
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
    assert "uv run poe up" in printed.err


def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAT_PORT", "http")

    assert main(["status"]) == 1
    assert "port: Input should be a valid integer" in capsys.readouterr().err


def test_stopping_what_does_not_run_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_LOCAL_DIR", str(tmp_path))

    assert main(["down"]) == 0


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
