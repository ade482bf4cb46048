"""The process of the demo's tool servers."""

import json
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

START_SECONDS = 30.0
STOP_SECONDS = 2.0


class DemoTools:
    """Runs `devstack.demo_tools` for one local stack."""

    def __init__(self, config: LocalStackConfig, processes: ProcessTable) -> None:
        self._config = config
        self._processes = processes

    @property
    def log(self) -> Path:
        return self._config.logs_dir / "demo-tools.log"

    def running(self) -> ProcessRecord | None:
        return self._processes.running("demo tools")

    def begin(self) -> None:
        """Starts it where it was last, because the stack knows the port, and does not wait."""
        port = self._port()
        record = start_background(
            [
                *(sys.executable, "-m", "devstack.demo_tools", "--port", str(port)),
                *("--notes", str(self._config.state_dir / "notes.json")),
            ],
            environment={name: each for name, each in os.environ.items() if name not in SECRETS},
            log=self.log,
            port=port,
        )
        self._processes.add("demo tools", record)

    def wait(self) -> None:
        """Until it serves.

        Raises:
            DevstackError: it died, or does not answer.
        """
        record = self._processes.last("demo tools")
        deadline = time.monotonic() + START_SECONDS
        while record is not None and time.monotonic() < deadline:
            if record.find() is None:
                raise DevstackError("The demo's tools died at their start.", log=self.log)
            if _answers(record.port):
                return
            time.sleep(0.1)
        raise DevstackError("The demo's tools do not answer.", log=self.log)

    def described(self) -> str:
        """The servers as `CHAT_TOOLS` would describe them."""
        record = self._processes.last("demo tools")
        if record is None:
            return "[]"
        base = f"http://127.0.0.1:{record.port}"
        names = ("clock", "notes")
        return json.dumps([{"name": name, "url": f"{base}/{name}/mcp"} for name in names])

    def stop(self) -> None:
        if (record := self.running()) is not None:
            end(record, grace_seconds=STOP_SECONDS)

    def _port(self) -> int:
        last = self._processes.last("demo tools")
        if last is not None and port_is_free(last.port):
            return last.port
        return free_port(self._config.port + 3)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).is_success
    except httpx.TransportError:
        return False
