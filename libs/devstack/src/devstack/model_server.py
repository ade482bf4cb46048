"""The demo model's process."""

import os
import sys
import time
from pathlib import Path

import httpx

from devstack.aws import SECRETS
from devstack.config import LocalStackConfig
from devstack.errors import DevstackError
from devstack.processes import ProcessRecord, ProcessTable, end, free_port, start_background

START_SECONDS = 20.0
STOP_SECONDS = 2.0


class ModelServer:
    """Runs `devstack.demo_model` for one local stack."""

    def __init__(self, config: LocalStackConfig, processes: ProcessTable) -> None:
        self._config = config
        self._processes = processes

    @property
    def log(self) -> Path:
        return self._config.logs_dir / "demo-model.log"

    def running(self) -> ProcessRecord | None:
        return self._processes.running("demo model")

    def start(self, *, at_its_last_port: bool) -> ProcessRecord:
        """Starts the demo model, on the emulator's port + 1 or any that is free.

        Args:
            at_its_last_port: an emulator that runs already knows that one, and no other.
        """
        last = self._processes.last("demo model") if at_its_last_port else None
        port = last.port if last is not None else free_port(self._config.port + 1)
        record = start_background(
            [sys.executable, "-m", "devstack.demo_model", "--port", str(port)],
            environment={name: each for name, each in os.environ.items() if name not in SECRETS},
            log=self.log,
            port=port,
        )
        self._processes.add("demo model", record)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if record.find() is None:
                raise DevstackError("The demo model died at its start.", log=self.log)
            if self._answers(port):
                return record
            time.sleep(0.1)
        raise DevstackError(f"The demo model does not answer on port {port}.", log=self.log)

    def stop(self) -> None:
        if (record := self.running()) is not None:
            end(record, grace_seconds=STOP_SECONDS)

    @staticmethod
    def _answers(port: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).is_success
        except httpx.TransportError:
            return False
