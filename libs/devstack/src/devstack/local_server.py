"""A server of the local stack beside the emulator, in a process of its own."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import httpx

from devstack.aws import SECRETS
from devstack.config import LocalStackConfig
from devstack.errors import DevstackError
from devstack.processes import (
    ProcessName,
    ProcessRecord,
    ProcessTable,
    end,
    free_port,
    port_is_free,
    start_background,
)

STOP_SECONDS: Final = 2.0


class LocalServer:
    """Runs a module that takes `--port` and answers `GET /health`, for one local stack.

    Attributes:
        name: in the table of processes, and of its log.
        module: what is run.
        offset: of its preferred port from the emulator's.
        start_seconds: until it answers.
    """

    name: ClassVar[ProcessName]
    module: ClassVar[str]
    offset: ClassVar[int]
    start_seconds: ClassVar[float] = 20.0

    def __init__(self, config: LocalStackConfig, processes: ProcessTable) -> None:
        self._config = config
        self._processes = processes

    @property
    def log(self) -> Path:
        return self._config.logs_dir / f"{self.name.replace(' ', '-')}.log"

    def running(self) -> ProcessRecord | None:
        return self._processes.running(self.name)

    def last(self) -> ProcessRecord | None:
        """The one that was started last, gone or not."""
        return self._processes.last(self.name)

    def start(self) -> ProcessRecord:
        """Starts it and waits until it serves.

        Raises:
            DevstackError: it died, or does not answer.
        """
        self.begin()
        return self.wait()

    def begin(self) -> None:
        """Starts it and does not wait."""
        port = self._port()
        record = start_background(
            [sys.executable, "-m", self.module, "--port", str(port), *self._arguments()],
            environment={name: each for name, each in os.environ.items() if name not in SECRETS},
            log=self.log,
            port=port,
        )
        self._processes.add(self.name, record)

    def wait(self) -> ProcessRecord:
        """Until it serves.

        Raises:
            DevstackError: it died, or does not answer.
        """
        record = self.last()
        deadline = time.monotonic() + self.start_seconds
        while record is not None and time.monotonic() < deadline:
            if record.find() is None:
                raise DevstackError(f"The {self.name} died at its start.", log=self.log)
            if _answers(record.port):
                return record
            time.sleep(0.1)
        raise DevstackError(f"The {self.name} does not answer.", log=self.log)

    def stop(self) -> None:
        if (record := self.running()) is not None:
            end(record, grace_seconds=STOP_SECONDS)

    def _arguments(self) -> Sequence[str]:
        """Beside the port."""
        return ()

    def _port(self) -> int:
        """Where it was last: what is deployed knows that one."""
        last = self.last()
        if last is not None and port_is_free(last.port):
            return last.port
        return free_port(self._config.port + self.offset)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).is_success
    except httpx.TransportError:
        return False
