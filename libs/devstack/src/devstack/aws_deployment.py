"""Deploys to an AWS account with `sam`, one stack or the root template that nests the four."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError

from devstack.config import STACKS_ROOT
from devstack.emulator import uv
from devstack.errors import DevstackError
from devstack.stacks import BUILD_MARKER, DEPLOY_ORDER, SAM

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

PLATFORMS = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}


def deploy_stack(stack: str, stage: str) -> None:
    """Deploys one of the four stacks, by its own `samconfig.toml`.

    Raises:
        DevstackError: there is no such stack or stage, or the stage is deployed as a whole.
    """
    if stack not in DEPLOY_ORDER:
        raise DevstackError(f"STACK is one of {', '.join(DEPLOY_ORDER)}; got {stack!r}.")
    settings = _settings(STACKS_ROOT / stack, stage)
    root = f"chat-{stage}"
    if _exists(_cloudformation(settings), root):
        raise DevstackError(
            f"Stage {stage} is deployed as a whole (stack {root}): `make deploy-all STAGE={stage}`."
        )
    _build_and_deploy(STACKS_ROOT / stack, stage, settings)


def deploy_all(stage: str) -> None:
    """Deploys the root template.

    Raises:
        DevstackError: there is no such stage, or it is deployed stack by stack.
    """
    settings = _settings(STACKS_ROOT, stage)
    cloudformation = _cloudformation(settings)
    alone = [
        name for stack in DEPLOY_ORDER if _exists(cloudformation, name := f"chat-{stage}-{stack}")
    ]
    if alone:
        raise DevstackError(
            f"Stage {stage} is deployed stack by stack ({', '.join(alone)}): "
            f"`make deploy STACK=... STAGE={stage}`."
        )
    _build_and_deploy(STACKS_ROOT, stage, settings)


def region_of(stage: str) -> str | None:
    """Where the stage's data stack is deployed; None: where the shell says.

    Raises:
        DevstackError: there is no such stage.
    """
    return _region(_settings(STACKS_ROOT / "data", stage))


def _settings(directory: Path, stage: str) -> dict[str, Any]:
    file = directory / "samconfig.toml"
    settings: dict[str, Any] = tomllib.loads(file.read_text()).get(stage, {})
    if not settings:
        raise DevstackError(f"{file} has no stage {stage!r}: copy one and put the new name in.")
    return settings


def _cloudformation(settings: dict[str, Any]) -> "CloudFormationClient":
    return boto3.client("cloudformation", region_name=_region(settings))


def _region(settings: dict[str, Any]) -> str | None:
    region: str | None = settings.get("global", {}).get("parameters", {}).get("region")
    return region


def _exists(cloudformation: "CloudFormationClient", name: str) -> bool:
    try:
        cloudformation.describe_stacks(StackName=name)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ValidationError":
            return False
        raise
    return True


def _build_and_deploy(directory: Path, stage: str, settings: dict[str, Any]) -> None:
    overrides = settings.get("deploy", {}).get("parameters", {}).get("parameter_overrides", {})
    architecture = overrides.get("Architecture", "arm64")
    environment = {**os.environ, "UV": uv(), "CHAT_PLATFORM": PLATFORMS[architecture]}
    if _is_this_machine(os.environ.get("AWS_ENDPOINT_URL", "")):
        environment |= {"CHAT_PLATFORM": "native", "CHAT_PYTHON": sys.executable}
    (directory / BUILD_MARKER).unlink(missing_ok=True)
    for arguments in (["build", "--parallel"], ["deploy"]):
        finished = subprocess.run(
            [SAM, *arguments, "--config-env", stage], cwd=directory, env=environment, check=False
        )
        if finished.returncode != 0:
            raise DevstackError(f"`sam {arguments[0]}` of {directory.name} failed.")


def _is_this_machine(endpoint: str) -> bool:
    """An emulator runs functions as processes of this machine."""
    return urlsplit(endpoint).hostname in {"localhost", "127.0.0.1", "::1"}
