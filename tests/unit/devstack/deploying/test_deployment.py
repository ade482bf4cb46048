"""What is run, in which order, and what of it on which account."""

import json
import subprocess
from collections.abc import Iterator
from io import BytesIO, StringIO
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from devstack.deploying import deployment
from devstack.deploying.deployment import deploy
from devstack.deploying.plan import ALL, Plan
from devstack.errors import DevstackError
from devstack.progress import Progress
from devstack.stacks import Stack

STAMPS = {"Version": "v1.2.3", "DeploymentId": "6925f0a4"}

type Command = tuple[str, str, str, dict[str, str]]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with mock_aws():
        monkeypatch.setattr(deployment, "require_ready", lambda _plan: None)
        monkeypatch.setattr(deployment, "_quota", lambda _plan: 1000)
        monkeypatch.setattr(deployment, "stamps", lambda: STAMPS)
        yield


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """What would be run: verb, folder, platform, parameters."""
    ran: list[Command] = []

    class Finished:
        returncode = 0

    def run(command: list[str], *, cwd: Path, env: dict[str, str], check: bool) -> Finished:
        assert command[2:4] == ["--config-env", "dev"]
        assert env["SAM_CLI_TELEMETRY"] == "0"
        pairs = (each.partition("=") for each in command if "=" in each)
        parameters = {name: value.strip('"') for name, _, value in pairs}
        ran.append((command[1], cwd.name, env["CHAT_PLATFORM"], parameters))
        return Finished()

    monkeypatch.setattr(subprocess, "run", run)
    return ran


def shape(commands: list[Command]) -> list[tuple[str, str, str]]:
    return [command[:3] for command in commands]


@pytest.mark.usefixtures("account")
def test_a_stack_is_built_for_its_architecture_and_deployed(commands: list[Command]) -> None:
    deploy("rest", "dev")

    platform = "aarch64-manylinux_2_28"
    assert shape(commands) == [("build", "rest", platform), ("deploy", "rest", platform)]


@pytest.mark.usefixtures("account")
def test_the_root_is_built_and_deployed_in_its_own_folder(commands: list[Command]) -> None:
    deploy(ALL, "dev")

    assert [(verb, folder) for verb, folder, *_ in commands] == [
        ("build", "stacks"),
        ("deploy", "stacks"),
    ]


@pytest.mark.usefixtures("account")
def test_every_parameter_is_passed(commands: list[Command]) -> None:
    deploy("workers", "dev")

    passed = commands[-1][3]
    expected = Plan.of("workers", "dev").overrides
    assert passed.keys() == expected.keys()
    assert passed["DataLayerArn"] == "/chat/dev/data/layer-arn"
    assert passed["DeliveryConcurrency"] == "100"


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("stack", "expected"), [("data", {"Version"}), ("workers", {"Version"}), ("rest", set(STAMPS))]
)
def test_a_stack_is_told_which_version_and_deployment_it_is(
    commands: list[Command], stack: str, expected: set[str]
) -> None:
    deploy(stack, "dev")

    passed = commands[-1][3]
    assert {name: passed[name] for name in expected} == {name: STAMPS[name] for name in expected}
    assert passed.keys() & STAMPS.keys() == expected


@pytest.mark.usefixtures("account")
def test_on_an_emulator_of_this_machine_it_is_built_for_this_machine(
    commands: list[Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "state_of", lambda _session, _name: None)
    monkeypatch.setattr(Stack, "is_built", lambda _self: False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")

    deploy("data", "dev")

    assert [platform for _, _, platform, _ in commands] == ["native", "native"]


@pytest.mark.usefixtures("account")
def test_on_an_emulator_what_is_built_for_this_machine_is_not_built_again(
    commands: list[Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "state_of", lambda _session, _name: None)
    monkeypatch.setattr(Stack, "is_built", lambda _self: True)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")

    deploy("data", "dev")

    assert [verb for verb, *_ in commands] == ["deploy"]


@pytest.mark.usefixtures("account")
def test_a_first_deployment_is_protected_when_it_has_succeeded(
    commands: list[Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what a failed one made could not be taken away by its rollback."""
    protected = Plan.of("data", "dev")
    protected.overrides["ProtectData"] = "true"
    monkeypatch.setattr(Plan, "of", lambda *_: protected)

    deploy("data", "dev")

    assert [command[3].get("ProtectData") for command in commands] == [None, "false", "true"]


@pytest.mark.usefixtures("account")
def test_a_later_deployment_is_protected_throughout(
    commands: list[Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    protected = Plan.of("data", "dev")
    protected.overrides["ProtectData"] = "true"
    monkeypatch.setattr(Plan, "of", lambda *_: protected)
    boto3.client("cloudformation", region_name=protected.region).create_stack(
        StackName="chat-dev-data",
        TemplateBody='{"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}',
    )

    deploy("data", "dev")

    assert [command[3].get("ProtectData") for command in commands] == [None, "true"]


def test_an_account_that_is_not_ready_gets_nothing(
    commands: list[Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_plan: Plan) -> None:
        raise DevstackError("not ready")

    monkeypatch.setattr(deployment, "require_ready", refuse)

    with pytest.raises(DevstackError, match="not ready"):
        deploy("rest", "dev")
    assert commands == []


class ToolsFunction:
    """Lambda, as far as a deployment asks it."""

    def __init__(self, answer: dict[str, object], error: str | None = None) -> None:
        self.answer = answer
        self.error = error
        self.invoked: list[tuple[str, bytes]] = []

    def client(self, _service: str) -> "ToolsFunction":
        return self

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, object]:  # noqa: N803
        self.invoked.append((FunctionName, Payload))
        if self.error == "refused":
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "Invoke")
        failed = {"FunctionError": "Unhandled"} if self.error else {}
        return {"Payload": BytesIO(json.dumps(self.answer).encode()), **failed}


@pytest.mark.usefixtures("account", "commands")
@pytest.mark.parametrize(
    ("unread", "error", "said"),
    [
        ([], None, "Tools: 5 of 2 servers."),
        (["notes"], None, "Tools: 5 of 2 servers; not read: notes."),
        ([], "failed", "did not refresh the tools: its log and the runbook say why."),
        ([], "refused", "did not refresh the tools: ClientError."),
    ],
)
def test_tools_are_read_after_a_deployment_of_the_workers(
    monkeypatch: pytest.MonkeyPatch, unread: list[str], error: str | None, said: str
) -> None:
    function = ToolsFunction({"servers": 2, "tools": 5, "unread": unread}, error)
    monkeypatch.setattr(Plan, "session", lambda _plan: function)
    monkeypatch.setattr(deployment, "state_of", lambda _session, _name: "there")
    told = StringIO()

    deploy("workers", "dev", Progress(told))

    assert function.invoked == [("chat-dev-workers_tools", b'{"action": "refresh"}')]
    assert said in told.getvalue()


@pytest.mark.usefixtures("account", "commands")
def test_no_other_stack_reads_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    function = ToolsFunction({})
    monkeypatch.setattr(Plan, "session", lambda _plan: function)
    monkeypatch.setattr(deployment, "state_of", lambda _session, _name: "there")

    deploy("rest", "dev")

    assert function.invoked == []
