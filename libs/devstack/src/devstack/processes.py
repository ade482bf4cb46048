"""Processes that outlive the command that starts them: started, found again, ended."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel

LAST_PORT = 65_535
CLOCK_DRIFT_SECONDS = 5.0
"""The system reckons creation times from a clock that may be set."""

type ProcessName = Literal["emulator", "demo model", "demo tools", "sign-in"]
type Ending = Literal["ended", "killed"]


_children: list[subprocess.Popen[bytes]] = []
"""Those that this command started itself: it has to reap them."""


class ProcessRecord(BaseModel):
    """A process, told from another that has its number later by when it was created."""

    pid: int
    created: float
    port: int

    def find(self) -> psutil.Process | None:
        """The process, or None where it is gone."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < CLOCK_DRIFT_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class ProcessTable:
    """The records of a local stack's processes, kept in a file."""

    class _File(BaseModel):
        processes: dict[str, ProcessRecord] = {}

    def __init__(self, file: Path) -> None:
        self._file = file

    def running(self, name: ProcessName) -> ProcessRecord | None:
        """The record of a process that runs."""
        record = self.last(name)
        return record if record is not None and record.find() is not None else None

    def last(self, name: ProcessName) -> ProcessRecord | None:
        """The record of the process of that name that was started last, gone or not."""
        return self._read().processes.get(name)

    def add(self, name: ProcessName, record: ProcessRecord) -> None:
        table = self._read()
        table.processes[name] = record
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(table.model_dump_json(indent=2))

    def _read(self) -> _File:
        if not self._file.exists():
            return self._File()
        return self._File.model_validate_json(self._file.read_text())


def start_background(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, port: int
) -> ProcessRecord:
    """Starts a process in a session of its own: Ctrl-C in the terminal is not for it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(process)
    return ProcessRecord(
        pid=process.pid, created=psutil.Process(process.pid).create_time(), port=port
    )


def end(
    record: ProcessRecord, *, grace_seconds: float, is_done: Callable[[], bool] = lambda: False
) -> Ending:
    """Asks a process to end, kills it if it does not, and its children in any case.

    Args:
        record: the process.
        grace_seconds: how long it may take.
        is_done: whether all that it has to do at its end is done: what then remains is not worth
            waiting for, and killing it counts as its end.
    """
    ending: Ending = "ended"
    if (process := record.find()) is not None:
        deadline = time.monotonic() + grace_seconds
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
        # A zombie counts as ended: who should reap it may be a slow init.
        while record.find() is not None and not is_done():
            if time.monotonic() > deadline:
                ending = "killed"
                break
            time.sleep(0.05)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(record.pid, signal.SIGKILL)
    for child in [child for child in _children if child.pid == record.pid]:
        child.wait()
        _children.remove(child)
    return ending


def end_own_session_children() -> None:
    """Ends the commands that this one waits for; background processes have sessions of their own."""
    session = os.getsid(0)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(child.pid) == session:
                child.terminate()


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(preferred: int) -> int:
    """The preferred port, or one that the system picks."""
    if preferred <= LAST_PORT and port_is_free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def describe_listener(port: int) -> str:
    """Who listens on a port, as far as this user may see it."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return "another program"
    for connection in connections:
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port:
            if connection.pid is None:
                break
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                break
    return "another program"
