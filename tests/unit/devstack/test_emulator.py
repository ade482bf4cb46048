"""What of the emulator can be told without running it."""

import json
import os
import socket
from pathlib import Path

import pytest

from devstack.config import LocalStackConfig
from devstack.emulator import Emulator
from devstack.errors import DevstackError
from devstack.processes import ProcessTable

MAPPING = "000000000000\x00us-east-1\x00'mapping'"


@pytest.fixture
def config(tmp_path: Path) -> LocalStackConfig:
    return LocalStackConfig(local_dir=tmp_path)


@pytest.fixture
def emulator(config: LocalStackConfig) -> Emulator:
    return Emulator(config, ProcessTable(config.processes_file))


@pytest.fixture
def state(config: LocalStackConfig) -> Path:
    directory = config.state_dir / "state"
    directory.mkdir(parents=True)
    return directory


def test_a_taken_port_is_named_with_who_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        config = LocalStackConfig(local_dir=tmp_path, port=port)
        emulator = Emulator(config, ProcessTable(config.processes_file))

        with pytest.raises(
            DevstackError, match=rf"Port {port} is taken by .*\(pid {os.getpid()}\)"
        ):
            emulator.start(model_port=1)


def test_streams_are_read_from_their_beginning_after_a_restart(
    emulator: Emulator, state: Path
) -> None:
    saved = {
        "__ministack_format__": 2,
        "payload": {
            "functions": {"kept": True},
            "dynamodb_stream_positions": {
                "__account_region_scoped__": True,
                "data": {MAPPING: 42},
            },
        },
    }
    (state / "lambda.json").write_text(json.dumps(saved))

    emulator._rewind_streams()

    payload = json.loads((state / "lambda.json").read_text())["payload"]
    assert payload["dynamodb_stream_positions"]["data"] == {MAPPING: 0}
    assert payload["functions"] == {"kept": True}


def test_no_variable_of_this_shell_reaches_the_functions(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")

    environment = emulator._environment(4567, Path("/somewhere/tmp"))

    assert {"AWS_PROFILE", "PYTHONPATH", "VIRTUAL_ENV"} & environment.keys() == set()
    assert environment["BIND_HOST"] == "127.0.0.1"
    assert environment["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] == "http://127.0.0.1:4567"


def test_state_is_saved_when_its_files_are_written_and_quiet(
    emulator: Emulator, state: Path
) -> None:
    asked = 1_000.0
    for name in ("lambda.json", "sqs.json", "dynamodb.json"):
        (state / name).write_text("{}")
        os.utime(state / name, (asked - 5, asked - 5))
    assert not emulator._state_is_saved(since=asked)

    for name in ("lambda.json", "sqs.json"):
        os.utime(state / name, (asked + 1, asked + 1))
    assert emulator._state_is_saved(since=asked)

    (state / "dynamodb.json.tmp").write_text("{")
    assert not emulator._state_is_saved(since=asked)


@pytest.mark.parametrize(
    ("needed", "expected"), [(1, "_temporary_in_memory"), (2**60, "_temporary_on_disk")]
)
def test_workers_unpack_in_memory_where_there_is_plenty(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: int, expected: str
) -> None:
    monkeypatch.setattr("devstack.emulator.SHARED_MEMORY", tmp_path)
    monkeypatch.setattr("devstack.emulator.MEMORY_FOR_WORKERS", needed)

    assert emulator._choose_temporary() == getattr(emulator, expected)


def test_two_stacks_share_no_temporary_folder(tmp_path: Path) -> None:
    folders = set()
    for name in ("one", "two"):
        config = LocalStackConfig(local_dir=tmp_path / name)
        folders.add(Emulator(config, ProcessTable(config.processes_file))._temporary_in_memory)

    assert len(folders) == 2
