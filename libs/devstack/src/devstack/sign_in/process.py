"""The process that signs demo users in."""

import os
import sys
import time
from pathlib import Path

import httpx

from devstack.aws import SECRETS
from devstack.config import LocalStackConfig
from devstack.errors import DevstackError
from devstack.processes import (
    ProcessRecord,
    ProcessTable,
    end,
    free_port,
    port_is_free,
    start_background,
)

START_SECONDS = 20.0
STOP_SECONDS = 2.0


class SignInProcess:
    """Runs `devstack.sign_in` for one local stack."""

    def __init__(self, config: LocalStackConfig, processes: ProcessTable) -> None:
        self._config = config
        self._processes = processes

    @property
    def log(self) -> Path:
        return self._config.logs_dir / "sign-in.log"

    def running(self) -> ProcessRecord | None:
        return self._processes.running("sign-in")

    def start(self) -> ProcessRecord:
        """Starts it where it was last, because the page is told the port when it is deployed.

        Raises:
            DevstackError: it died, or does not answer.
        """
        port = self._port()
        record = start_background(
            [
                *(sys.executable, "-m", "devstack.sign_in", "--port", str(port)),
                *("--emulator-port", str(self._config.port)),
                *("--local-dir", str(self._config.local_dir)),
            ],
            environment={name: each for name, each in os.environ.items() if name not in SECRETS},
            log=self.log,
            port=port,
        )
        self._processes.add("sign-in", record)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if record.find() is None:
                raise DevstackError("The sign-in of demo users died at its start.", log=self.log)
            if _answers(port):
                return record
            time.sleep(0.1)
        raise DevstackError(f"The sign-in of demo users does not answer on port {port}.")

    def stop(self) -> None:
        if (record := self.running()) is not None:
            end(record, grace_seconds=STOP_SECONDS)

    def _port(self) -> int:
        last = self._processes.last("sign-in")
        if last is not None and port_is_free(last.port):
            return last.port
        return free_port(self._config.port + 2)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).is_success
    except httpx.TransportError:
        return False
