"""Brings the local stack up and takes it down again."""

import contextlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from devstack import connections, emulator
from devstack.aws import AwsClients
from devstack.commands import poe
from devstack.config import REGION, ROOT, STAGE, LocalStackConfig
from devstack.demo_tools.process import DemoTools
from devstack.emulator import Emulator
from devstack.errors import DevstackError
from devstack.locks import exclusive
from devstack.model_key import ModelKey
from devstack.model_probe import ModelProbe, check_settings
from devstack.model_server import ModelServer
from devstack.outputs import Outputs
from devstack.processes import ProcessTable, end_own_session_children
from devstack.progress import Progress
from devstack.sign_in.process import SignInProcess
from devstack.stacks import (
    DEPLOY_ORDER,
    Stack,
    StackName,
    StackState,
    Surroundings,
    describe,
    published,
)
from devstack.tool_servers import ToolServers, check_tools, tool_secrets
from devstack.users import DEMO_USERS, Users
from devstack.warm_up import WarmUp

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

BUILD_LOCK = ROOT / ".local" / "build.lock"
"""All local stacks build in the same folders."""

_STATES: Final[Mapping[StackState, str]] = {
    "deployed": "deployed",
    "out of date": "deployed, but of other files or settings than these",
    "missing": "missing",
}


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
        self._sign_in = SignInProcess(config, self._processes)
        self._clients = AwsClients(config.endpoint)
        self._model_key = ModelKey(config, self._clients)
        self._demo_tools = DemoTools(config, self._processes)
        self._tools = ToolServers(config, self._clients, self._demo_tools)

    def up(self) -> Outputs:
        """Starts what does not run, deploys what changed, and returns when it serves.

        Raises:
            DevstackError: a step failed; what it started keeps running until `down`.
        """
        started = time.monotonic()
        with exclusive(self.config.local_dir / "lock", self._progress):
            self._check_port()
            check_tools(self.config)
            self._check_model()
            with (
                exclusive(BUILD_LOCK, self._progress),
                ThreadPoolExecutor(os.cpu_count() or len(DEPLOY_ORDER)) as pool,
            ):
                stacks = [Stack(name, self.config) for name in DEPLOY_ORDER]
                builds = {stack.name: pool.submit(self._build, stack) for stack in stacks}
                try:
                    started_anew = self._start_processes()
                    self._deploy(stacks, builds, is_cold=started_anew)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    end_own_session_children()
                    raise
            outputs = self._write_outputs()
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
            if not self._stop():
                self._progress.note("Nothing was running.")

    def reset(self) -> None:
        """Ends everything and forgets every channel, user and stack."""
        with exclusive(self.config.local_dir / "lock", self._progress):
            self._stop()
            with self._progress.step("State removed"):
                self._emulator.forget_state()

    def status(self) -> Status:
        record = self._emulator.running()
        model = self._model.running()
        tools = self._demo_tools.running()
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
            (
                f"demo tools  port {tools.port} (pid {tools.pid}), log {self._demo_tools.log}"
                if tools
                else "demo tools  stopped"
            ),
        ]
        if serving:
            cloudformation = self._clients.cloudformation()
            surroundings = self._surroundings()
            for name in DEPLOY_ORDER:
                state = Stack(name, self.config).state(cloudformation, surroundings)
                lines.append(f"{name:<11} {_STATES[state]}")
            lines.append(f"model       {self._deployed_model(cloudformation)}")
            lines.append(f"tools       of {', '.join(self._tools.offered()) or 'nobody'}")
        up = serving and self.config.outputs_file.exists()
        if up:
            outputs = Outputs.read(self.config.outputs_file)
            lines += [
                f"Web client  {outputs.web_client_url}",
                f"REST        {outputs.rest_url}",
                f"WebSocket   {outputs.websocket_url}",
            ]
        return Status(lines=tuple(lines), up=up)

    def outputs(self) -> Outputs:
        """Of the running stack.

        Raises:
            DevstackError: it is not up.
        """
        if self._emulator.running() is None or not self.config.outputs_file.exists():
            raise DevstackError(f"The local stack is not up: `{poe('up')}`.")
        return Outputs.read(self.config.outputs_file)

    def users(self, outputs: Outputs) -> Users:
        return self._users_of(outputs.issuer, outputs.audience)

    def _users_of(self, issuer: str, client_id: str) -> Users:
        return Users(
            self._clients,
            issuer=issuer,
            client_id=client_id,
            password_file=self.config.state_dir / "password",
        )

    def demo_notes_url(self) -> str | None:
        """Where the demo's notes are shown; None where `CHAT_TOOLS` offers other tools."""
        record = self._demo_tools.running() if self.config.tools is None else None
        return f"http://127.0.0.1:{record.port}/notes" if record is not None else None

    def is_running(self) -> bool:
        """Whether its emulator runs, whoever started it."""
        return self._emulator.running() is not None

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
                f"This stack already runs on port {record.port}: `{poe('down')}` first, leave "
                "CHAT_PORT as it was, or give the second one a folder of its own (CHAT_LOCAL_DIR)."
            )

    def _check_model(self) -> None:
        """Before anything is built, too."""
        check_settings(self.config)
        if self.config.model_url is None:
            return
        with self._progress.step(f"Question to the model {self.config.model or ''}".rstrip()):
            note = ModelProbe(self.config).ask()
        if note is not None:
            self._progress.note(note)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            published(self._clients), self._model_key.arn(), tool_secrets(self.config)
        )

    def _deployed_model(self, cloudformation: "CloudFormationClient") -> str:
        """As the workers were deployed, whatever this shell's variables say."""
        stack = describe(cloudformation, Stack("workers", self.config).stack_name)
        given = stack.get("Parameters", []) if stack is not None else []
        values = {each["ParameterKey"]: each.get("ParameterValue", "") for each in given}
        name = values.get("AllowedModels", "none")
        if values.get("ModelProvider") == "openai":
            return f"{name} at {values.get('ModelUrl')}"
        return f"{name} (the demo model)"

    def _start_processes(self) -> bool:
        """Whether the emulator was started; the demo model is first, its port is told to it."""
        model = self._model.running()
        running = self._emulator.running() is not None
        offers_demo = self.config.tools is None
        if offers_demo and self._demo_tools.running() is None:
            # Its library takes a while to import: meanwhile the others start.
            self._demo_tools.begin()
        if self._sign_in.running() is None:
            with self._progress.step("Sign-in of demo users"):
                self._sign_in.start()
        if model is None:
            with self._progress.step("Demo model"):
                model = self._model.start()
        if not running:
            with self._progress.step("Environment of the emulator"):
                emulator.sync_environment(self.config.logs_dir / "emulator-environment.log")
            with self._progress.step(f"Emulator on port {self.config.port}"):
                self._emulator.start(model_port=model.port)
        if offers_demo:
            with self._progress.step("Demo tools"):
                self._demo_tools.wait()
        return not running

    def _build(self, stack: Stack) -> None:
        if not stack.is_built():
            with self._progress.step(f"Build {stack.name}"):
                stack.build()

    def _deploy(
        self, stacks: list[Stack], builds: dict[StackName, Future[None]], *, is_cold: bool
    ) -> None:
        """Deploys what changed; each stack's functions are warmed while the next is deployed.

        Args:
            stacks: all of them, each after those that it reads from.
            builds: each stack's build, under way or done.
            is_cold: no function has a worker yet.
        """
        cloudformation = self._clients.cloudformation()
        warming = WarmUp(self._clients, self._current_users)
        self._deploy_model_key()
        self._tools.deploy()
        is_first = True
        for stack in stacks:
            builds[stack.name].result()
            surroundings = self._surroundings()
            is_current = stack.state(cloudformation, surroundings) == "deployed"
            if not is_current:
                with self._progress.step(f"Deploy {stack.name}"):
                    try:
                        stack.deploy(surroundings)
                    except DevstackError:
                        self._explain_dead_emulator()
                        raise
            if is_first:
                self._ensure_demo_users()
                is_first = False
            if not is_current or is_cold:
                warming.start(stack.name)
        if warming.is_at_work:
            with self._progress.step("Warm-up of every function"):
                warming.finish()

    def _deploy_model_key(self) -> None:
        """Before any function is warmed: no worker that reads the new key is ended."""
        if self.config.model_key is None:
            return
        with self._progress.step("Key of the model server"):
            is_new = self._model_key.deploy()
        if is_new:
            # They have read the key before, and keep it.
            for worker in self.workers_of("workers_agent"):
                worker.terminate()

    def _ensure_demo_users(self) -> None:
        users = self._current_users()
        with self._progress.step("Users " + " and ".join(DEMO_USERS)):
            for user in DEMO_USERS:
                users.ensure(user)

    def _current_users(self) -> Users:
        """Of the pool that the data stack publishes."""
        names = published(self._clients)
        return self._users_of(names["data/jwt-issuer"], names["data/jwt-audience"])

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

    def _stop(self) -> bool:
        """Says whether anything ran."""
        running = self._emulator.running()
        model = self._model.running()
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
        if model is not None:
            with self._progress.step("Demo model ended"):
                self._model.stop()
        self._sign_in.stop()
        self._demo_tools.stop()
        self.config.outputs_file.unlink(missing_ok=True)
        return running is not None or model is not None

    def _close_connections(self) -> None:
        """So that `$disconnect` runs for them, as it does on AWS."""
        if not self.config.outputs_file.exists() or not self._emulator.answers():
            return
        try:
            connections.close_all(self._clients, self.users(self.outputs()))
        except (BotoCoreError, ClientError, KeyError) as error:
            self._progress.note(f"Open WebSockets could not be closed: {type(error).__name__}")
