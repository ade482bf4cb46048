"""Processes of the local stack: started, found again, ended."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devstack.processes import (
    ProcessRecord,
    ProcessTable,
    describe_listener,
    end,
    free_port,
    port_is_free,
    start_background,
)

POLITE = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {POLITE}"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {POLITE!r}]); {POLITE}"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[ProcessRecord]]:
    records: list[ProcessRecord] = []
    yield records
    for record in records:
        end(record, grace_seconds=0)


def start(program: str, tmp_path: Path, started: list[ProcessRecord]) -> ProcessRecord:
    log = tmp_path / "logs" / "program.log"
    record = start_background(
        [sys.executable, "-c", program], environment=os.environ, log=log, port=1
    )
    started.append(record)
    deadline = time.monotonic() + 10
    while "up" not in log.read_text():
        assert time.monotonic() < deadline, "the program did not start"
        time.sleep(0.02)
    return record


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_process_that_listens_to_the_request_ends(
    tmp_path: Path, started: list[ProcessRecord]
) -> None:
    record = start(POLITE, tmp_path, started)

    assert end(record, grace_seconds=10) == "ended"
    assert record.find() is None


def test_a_process_that_ignores_the_request_is_killed_and_that_is_said(
    tmp_path: Path, started: list[ProcessRecord]
) -> None:
    record = start(STUBBORN, tmp_path, started)

    assert end(record, grace_seconds=0.2) == "killed"
    assert record.find() is None


def test_a_process_that_has_done_what_it_must_is_not_waited_for(
    tmp_path: Path, started: list[ProcessRecord]
) -> None:
    record = start(STUBBORN, tmp_path, started)
    began = time.monotonic()

    assert end(record, grace_seconds=30, is_done=lambda: True) == "ended"
    assert time.monotonic() - began < 5


def test_children_do_not_outlive_their_parent(tmp_path: Path, started: list[ProcessRecord]) -> None:
    record = start(PARENT, tmp_path, started)
    (child,) = psutil.Process(record.pid).children()

    end(record, grace_seconds=10)

    gone, alive = psutil.wait_procs([child], timeout=5)
    assert [*gone, *(one for one in alive if one.status() == psutil.STATUS_ZOMBIE)] == [child]


def test_ending_what_is_gone_is_harmless(tmp_path: Path, started: list[ProcessRecord]) -> None:
    record = start(POLITE, tmp_path, started)
    end(record, grace_seconds=10)

    assert end(record, grace_seconds=10) == "ended"


def test_another_process_with_the_same_number_is_not_taken_for_it() -> None:
    me = psutil.Process()

    assert ProcessRecord(pid=me.pid, created=me.create_time(), port=1).find() == me
    assert ProcessRecord(pid=me.pid, created=me.create_time() - 60, port=1).find() is None


def test_a_zombie_does_not_run() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        created = psutil.Process(process.pid).create_time()
        record = ProcessRecord(pid=process.pid, created=created, port=1)
        deadline = time.monotonic() + 10
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline

        assert record.find() is None


def test_the_table_remembers_a_process_across_commands(
    tmp_path: Path, started: list[ProcessRecord]
) -> None:
    record = start(POLITE, tmp_path, started)
    ProcessTable(tmp_path / "processes.json").add("emulator", record)
    table = ProcessTable(tmp_path / "processes.json")

    assert table.running("emulator") == record
    assert table.running("demo model") is None
    end(record, grace_seconds=10)
    assert table.running("emulator") is None
    assert table.last("emulator") == record


def test_a_port_is_free_unless_somebody_listens(listener: int) -> None:
    assert not port_is_free(listener)
    assert f"(pid {os.getpid()})" in describe_listener(listener)


def test_a_taken_port_is_evaded(listener: int) -> None:
    evasion = free_port(listener)

    assert evasion != listener
    assert port_is_free(evasion)
    assert free_port(evasion) == evasion
