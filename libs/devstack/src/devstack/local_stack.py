"""Brings the local stack up and takes it down again."""

import contextlib
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from devstack import connections, emulator, warm_up
from devstack.aws import AwsClients
from devstack.config import REGION, ROOT, STAGE, LocalStackConfig
from devstack.emulator import Emulator
from devstack.errors import DevstackError
from devstack.locks import exclusive
from devstack.model_server import ModelServer
from devstack.outputs import Outputs
from devstack.processes import ProcessTable, end_own_session_children
from devstack.progress import Progress
from devstack.stacks import DEPLOY_ORDER, Stack, StackName, published
from devstack.users import DEMO_USERS, Users

BUILD_LOCK = ROOT / ".local" / "build.lock"
"""All local stacks build in the same folders."""


@dataclass(frozen=True)
class Status:
    """What runs, in a line a thing."""

    lines: tuple[str, ...]
    up: bool


class LocalStack:
    """The four stacks on an emulator of this machine."""

    def __init__(self, config: LocalStackConfig, progress: Progress | None = None) -> None:
        self.config = config
        self._progress = progress or Progress()
        self._processes = ProcessTable(config.processes_file)
        self._emulator = Emulator(config, self._processes)
        self._model = ModelServer(config, self._processes)
        self._clients = AwsClients(config.endpoint)

    def up(self) -> Outputs:
        """Starts what does not run, deploys what changed, and returns when it serves.

        Raises:
            DevstackError: a step failed; what it started keeps running until `down`.
        """
        started = time.monotonic()
        with exclusive(self.config.local_dir / "lock", self._progress):
            self._check_port()
            with (
                exclusive(BUILD_LOCK, self._progress),
                ThreadPoolExecutor(len(DEPLOY_ORDER)) as pool,
            ):
                stacks = [Stack(name, self.config) for name in DEPLOY_ORDER]
                builds = {stack.name: pool.submit(self._build, stack) for stack in stacks}
                try:
                    started_anew = self._start_processes()
                    deployed = self._deploy(stacks, builds)
                except BaseException:
                    end_own_session_children()
                    raise
            outputs = self._write_outputs()
            users = self.users(outputs)
            with self._progress.step("Users " + " and ".join(DEMO_USERS)):
                for user in DEMO_USERS:
                    users.ensure(user)
            if deployed or started_anew:
                with self._progress.step("Warm-up of every function"):
                    warm_up.run(self._clients, outputs, users)
        self._progress.note(f"Up after {time.monotonic() - started:.1f} s")
        return outputs

    def build(self) -> None:
        """Builds what changed, as for this machine."""
        with (
            exclusive(BUILD_LOCK, self._progress),
            ThreadPoolExecutor(len(DEPLOY_ORDER)) as pool,
        ):
            for _built in pool.map(
                self._build, [Stack(name, self.config) for name in DEPLOY_ORDER]
            ):
                pass

    def down(self) -> None:
        """Ends everything; state stays for the next `up`."""
        with exclusive(self.config.local_dir / "lock", self._progress):
            self._stop()

    def reset(self) -> None:
        """Ends everything and forgets every channel, user and stack."""
        with exclusive(self.config.local_dir / "lock", self._progress):
            self._stop()
            with self._progress.step("State removed"):
                self._emulator.forget_state()

    def status(self) -> Status:
        record = self._emulator.running()
        model = self._model.running()
        serving = record is not None and self._emulator.answers()
        lines = [
            (
                f"emulator    {'serves' if serving else 'does not answer'} on port {record.port} "
                f"(pid {record.pid}), log {self._emulator.log}"
                if record
                else "emulator    stopped"
            ),
            (
                f"demo model  port {model.port} (pid {model.pid}), log {self._model.log}"
                if model
                else "demo model  stopped"
            ),
        ]
        if serving:
            cloudformation = self._clients.cloudformation()
            for name in DEPLOY_ORDER:
                current = Stack(name, self.config).is_deployed(cloudformation)
                lines.append(f"{name:<11} {'deployed' if current else 'missing or out of date'}")
        up = serving and self.config.outputs_file.exists()
        if up:
            outputs = Outputs.read(self.config.outputs_file)
            lines += [f"REST        {outputs.rest_url}", f"WebSocket   {outputs.websocket_url}"]
        return Status(lines=tuple(lines), up=up)

    def outputs(self) -> Outputs:
        """Of the running stack.

        Raises:
            DevstackError: it is not up.
        """
        if self._emulator.running() is None or not self.config.outputs_file.exists():
            raise DevstackError("The local stack is not up: `uv run poe up`.")
        return Outputs.read(self.config.outputs_file)

    def users(self, outputs: Outputs) -> Users:
        return Users(self._clients, outputs, self.config.state_dir / "password")

    def workers_of(self, function: str) -> list[psutil.Process]:
        """The emulator's processes that run a function, by its member's name."""
        record = self._emulator.running()
        emulator_process = record.find() if record is not None else None
        if emulator_process is None:
            return []
        folder = f"-lambda-chat-{STAGE}-{function}-"
        workers = []
        for child in emulator_process.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(folder in argument for argument in child.cmdline()):
                    workers.append(child)
        return workers

    @property
    def clients(self) -> AwsClients:
        return self._clients

    def _check_port(self) -> None:
        """Before anything is built."""
        record = self._emulator.running()
        if record is None:
            self._emulator.require_free_port()
        elif record.port != self.config.port:
            raise DevstackError(
                f"This stack already runs on port {record.port}: "
                "`uv run poe down` first, or leave CHAT_PORT as it was."
            )

    def _start_processes(self) -> bool:
        """Whether the emulator was started; the demo model is first, its port is told to it."""
        model = self._model.running()
        running = self._emulator.running() is not None
        if model is None:
            with self._progress.step("Demo model"):
                model = self._model.start(at_its_last_port=running)
        if running:
            return False
        with self._progress.step("Environment of the emulator"):
            emulator.sync_environment(self.config.logs_dir / "emulator-environment.log")
        with self._progress.step(f"Emulator on port {self.config.port}"):
            self._emulator.start(model_port=model.port)
        return True

    def _build(self, stack: Stack) -> None:
        if not stack.is_built():
            with self._progress.step(f"Build {stack.name}"):
                stack.build()

    def _deploy(self, stacks: list[Stack], builds: dict[StackName, Future[None]]) -> bool:
        cloudformation = self._clients.cloudformation()
        changed = False
        for stack in stacks:
            builds[stack.name].result()
            if stack.is_deployed(cloudformation):
                continue
            with self._progress.step(f"Deploy {stack.name}"):
                try:
                    stack.deploy()
                except DevstackError:
                    self._explain_dead_emulator()
                    raise
            changed = True
        return changed

    def _explain_dead_emulator(self) -> None:
        if self._emulator.running() is None:
            raise DevstackError("The emulator died.", log=self._emulator.log)

    def _write_outputs(self) -> Outputs:
        names = published(self._clients)
        try:
            outputs = Outputs(
                stage=STAGE,
                region=REGION,
                endpoint=self.config.endpoint,
                rest_url=names["rest/url"].rstrip("/"),
                websocket_url=names["websocket/url"],
                issuer=names["data/jwt-issuer"],
                audience=names["data/jwt-audience"],
                jwks_url=names["data/jwt-jwks-url"],
            )
        except KeyError as error:
            raise DevstackError(f"No stack published {error.args[0]}.") from error
        outputs.write(self.config.outputs_file)
        return outputs

    def _stop(self) -> None:
        running = self._emulator.running()
        if running is not None:
            with self._progress.step("Open WebSockets closed"):
                self._close_connections()
                self._clients.close()
            with self._progress.step("Emulator ended"):
                ending = self._emulator.stop()
            if ending == "killed":
                self._progress.note(
                    "The emulator did not end in time and was killed: "
                    "what happened since its start is lost."
                )
        if self._model.running() is not None:
            with self._progress.step("Demo model ended"):
                self._model.stop()
        self.config.outputs_file.unlink(missing_ok=True)

    def _close_connections(self) -> None:
        """An open WebSocket keeps the emulator from ending cleanly, which is what saves its state."""
        if not self.config.outputs_file.exists() or not self._emulator.answers():
            return
        try:
            connections.close_all(self._clients, self.users(self.outputs()))
        except (BotoCoreError, ClientError, KeyError) as error:
            self._progress.note(f"Open WebSockets could not be closed: {type(error).__name__}")
