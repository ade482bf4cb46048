"""The emulator's process: its environment, start, state and end."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil

from devstack import emulator_main
from devstack.config import REGION, ROOT, LocalStackConfig
from devstack.errors import DevstackError
from devstack.processes import (
    Ending,
    ProcessRecord,
    ProcessTable,
    describe_listener,
    end,
    port_is_free,
    start_background,
)

ENVIRONMENT_DIR = ROOT / ".venv-emulator"
START_SECONDS = 60.0
STOP_SECONDS = 11.0
"""A clean end takes 1.7 s on an idle machine; the whole of `down` has 15."""
WIPE_SECONDS = 2.0
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # the folder below it is this stack's own
MEMORY_FOR_WORKERS = 4 * 1024**3
"""Bytes: a hundred workers of 30 to 120 MB."""
QUIET_SECONDS = 0.5
"""State is saved in one go: no file of it written for so long, and it is whole."""


def uv() -> str:
    """`uv run` and `make` say which uv they use."""
    return os.environ.get("UV") or shutil.which("uv") or "uv"


def sync_environment(log: Path) -> None:
    """The emulator pins another botocore than the SAM CLI: an environment of its own."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
    }
    environment["UV_PROJECT_ENVIRONMENT"] = str(ENVIRONMENT_DIR)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        synced = subprocess.run(
            [uv(), "sync", "--only-group", "emulator", "--locked", "--python", sys.executable],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if synced.returncode != 0:
        raise DevstackError("The emulator's environment could not be installed.", log=log)


class Emulator:
    """The emulator of one local stack."""

    def __init__(self, config: LocalStackConfig, processes: ProcessTable) -> None:
        self._config = config
        self._processes = processes

    @property
    def log(self) -> Path:
        return self._config.logs_dir / "emulator.log"

    def running(self) -> ProcessRecord | None:
        return self._processes.running("emulator")

    def require_free_port(self) -> None:
        """Raises DevstackError where another program listens on the port."""
        port = self._config.port
        if not port_is_free(port):
            raise DevstackError(
                f"Port {port} is taken by {describe_listener(port)}. "
                "End that, or choose another port with CHAT_PORT."
            )

    def start(self, *, model_port: int) -> None:
        """Starts the emulator and waits until it serves.

        Raises:
            DevstackError: its port is taken, it died, or it does not answer.
        """
        port = self._config.port
        self.require_free_port()
        self._rewind_streams()
        self._wipe_temporary()
        temporary = self._choose_temporary()
        temporary.mkdir(parents=True)
        record = start_background(
            # Nothing of devstack is importable there (-P).
            [str(ENVIRONMENT_DIR / "bin" / "python"), "-P", emulator_main.__file__],
            environment=self._environment(model_port, temporary),
            log=self.log,
            port=port,
        )
        self._processes.add("emulator", record)
        self._wait_until_ready(record)

    def stop(self) -> Ending:
        """Ends the emulator; a clean end is what saves its state."""
        record = self.running()
        if record is None:
            return "ended"
        asked = time.time()
        ending = end(
            record, grace_seconds=STOP_SECONDS, is_done=lambda: self._state_is_saved(since=asked)
        )
        self._wipe_temporary(WIPE_SECONDS)
        return ending

    def forget_state(self) -> None:
        shutil.rmtree(self._config.state_dir, ignore_errors=True)

    def _wipe_temporary(self, seconds: float | None = None) -> None:
        """Removes the workers' copies of their code; after a burst there are many thousand files.

        Args:
            seconds: for how long at most; the next start removes what is left then.
        """

        def wipe() -> None:
            for directory in (self._temporary_in_memory, self._temporary_on_disk):
                shutil.rmtree(directory, ignore_errors=True)

        wiping = threading.Thread(target=wipe, daemon=True)
        wiping.start()
        wiping.join(seconds)

    def _choose_temporary(self) -> Path:
        """In memory where there is plenty: each worker unpacks some 1,500 files of its own.

        On an ext4 without a journal, files that are made soon after others were deleted cost
        milliseconds each: a restarted stack took four times as long to warm up.
        """
        if (
            SHARED_MEMORY.is_dir()
            and shutil.disk_usage(SHARED_MEMORY).free > MEMORY_FOR_WORKERS
            and psutil.virtual_memory().available > 2 * MEMORY_FOR_WORKERS
        ):
            return self._temporary_in_memory
        return self._temporary_on_disk

    @property
    def _temporary_on_disk(self) -> Path:
        return self._config.state_dir / "tmp"

    @property
    def _temporary_in_memory(self) -> Path:
        name = hashlib.sha256(str(self._config.state_dir.resolve()).encode()).hexdigest()[:16]
        return SHARED_MEMORY / f"chat-emulator-{name}"

    @property
    def _state(self) -> Path:
        return self._config.state_dir / "state"

    def _environment(self, model_port: int, temporary: Path) -> dict[str, str]:
        """All that it gets: every variable reaches every function, as on no AWS account."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._config.state_dir),
            "LANG": "C.UTF-8",
            "TMPDIR": str(temporary),
            "PYTHONUNBUFFERED": "1",
            "GATEWAY_PORT": str(self._config.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self._state),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self._config.state_dir / "s3"),
            "LAMBDA_WARM_TTL_SECONDS": "86400",
            "AUTH": str(self._config.enforce_rights).lower(),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": f"http://127.0.0.1:{model_port}",
        }

    def _state_is_saved(self, *, since: float) -> bool:
        """A function that hangs keeps the process, but not the saving."""
        written = [file.stat().st_mtime for file in self._state.glob("*.json")]
        saving = [at for at in written if at > since]
        return (
            len(saving) > len(written) / 2
            and not any(self._state.glob("*.tmp"))
            and time.time() - max(saving) > QUIET_SECONDS
        )

    def _rewind_streams(self) -> None:
        """Stream positions survive a restart, the records they count do not: back to 0."""
        file = self._state / "lambda.json"
        if not file.exists():
            return
        state = json.loads(file.read_text())
        positions = state.get("payload", state).get("dynamodb_stream_positions", {}).get("data", {})
        for mapping in positions:
            positions[mapping] = 0
        file.write_text(json.dumps(state))

    def _wait_until_ready(self, record: ProcessRecord) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if record.find() is None:
                raise DevstackError("The emulator died at its start.", log=self.log)
            if self.answers():
                return
            time.sleep(0.1)
        raise DevstackError(
            f"The emulator does not answer on port {record.port} after {START_SECONDS:.0f} s.",
            log=self.log,
        )

    def answers(self) -> bool:
        try:
            ready = httpx.get(f"{self._config.endpoint}/_ministack/ready", timeout=2)
        except httpx.TransportError:
            return False
        return ready.status_code == httpx.codes.OK
