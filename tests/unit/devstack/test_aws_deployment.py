"""One mode a stage: stack by stack, or whole."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from devstack import aws_deployment
from devstack.aws_deployment import deploy_all, deploy_stack
from devstack.errors import DevstackError

REGION = "eu-central-1"
TEMPLATE = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
SAMCONFIG = f"""
version = 0.1
[dev.global.parameters]
region = "{REGION}"
[dev.deploy.parameters.parameter_overrides]
Architecture = "x86_64"
"""


@pytest.fixture
def account() -> Iterator[None]:
    with mock_aws():
        yield


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """What would be run: verb, folder, platform."""
    ran: list[tuple[str, str, str]] = []

    class Finished:
        returncode = 0

    def run(command: list[str], *, cwd: Path, env: dict[str, str], check: bool) -> Finished:
        assert command[-2:] == ["--config-env", "dev"]
        ran.append((command[1], cwd.name, env["CHAT_PLATFORM"]))
        return Finished()

    for folder in ("stacks", "stacks/data", "stacks/rest"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "samconfig.toml").write_text(SAMCONFIG)
    monkeypatch.setattr(aws_deployment, "STACKS_ROOT", tmp_path / "stacks")
    monkeypatch.setattr(subprocess, "run", run)
    return ran


def deploy_elsewhere(name: str) -> None:
    boto3.client("cloudformation", region_name=REGION).create_stack(
        StackName=name, TemplateBody=TEMPLATE
    )


def test_a_stack_is_built_for_its_architecture_and_deployed(
    account: None, commands: list[tuple[str, str, str]]
) -> None:
    deploy_stack("data", "dev")

    assert commands == [
        ("build", "data", "x86_64-manylinux_2_28"),
        ("deploy", "data", "x86_64-manylinux_2_28"),
    ]


def test_on_an_emulator_of_this_machine_it_is_built_for_this_machine(
    account: None, commands: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_deployment, "_exists", lambda _client, _name: False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")

    deploy_stack("data", "dev")

    assert [platform for _verb, _folder, platform in commands] == ["native", "native"]


def test_a_stage_that_is_deployed_whole_takes_no_single_stack(
    account: None, commands: list[tuple[str, str, str]]
) -> None:
    deploy_elsewhere("chat-dev")

    with pytest.raises(DevstackError, match="make deploy-all STAGE=dev"):
        deploy_stack("rest", "dev")
    assert commands == []


def test_a_stage_that_is_deployed_stack_by_stack_is_not_deployed_whole(
    account: None, commands: list[tuple[str, str, str]]
) -> None:
    deploy_elsewhere("chat-dev-data")

    with pytest.raises(DevstackError, match="chat-dev-data"):
        deploy_all("dev")
    assert commands == []


def test_the_root_is_deployed_where_nothing_is(
    account: None, commands: list[tuple[str, str, str]]
) -> None:
    deploy_all("dev")

    assert [(verb, folder) for verb, folder, _platform in commands] == [
        ("build", "stacks"),
        ("deploy", "stacks"),
    ]


@pytest.mark.parametrize(
    ("stack", "stage", "reason"),
    [("", "dev", "STACK is one of data"), ("data", "prod", "has no stage 'prod'")],
)
def test_a_wrong_name_is_said_before_anything_runs(
    account: None, commands: list[tuple[str, str, str]], stack: str, stage: str, reason: str
) -> None:
    with pytest.raises(DevstackError, match=reason):
        deploy_stack(stack, stage)
    assert commands == []
