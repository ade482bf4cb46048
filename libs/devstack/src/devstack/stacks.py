"""The four stacks: what they are made of, built and deployed with the real `sam` commands."""

import hashlib
import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml
from botocore.exceptions import ClientError

from devstack.aws import AwsClients, environment
from devstack.config import REGION, ROOT, STACKS_ROOT, STAGE, LocalStackConfig
from devstack.demo_model.openai import MODEL_ID
from devstack.emulator import uv
from devstack.errors import DevstackError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

type StackName = Literal["data", "websocket", "workers", "rest"]

DEPLOY_ORDER: tuple[StackName, ...] = ("data", "websocket", "workers", "rest")
"""Each reads what those before it publish."""

INPUTS_TAG = "chat:inputs"
"""A stack's tag: the digest of all that it was deployed from."""

BUILD_MARKER = Path(".aws-sam") / "inputs"
"""Beside what `sam build` made for this machine: the digest of what it was made from."""

SAM = str(Path(sys.executable).with_name("sam"))
DEPLOYED = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
BUILD_SECONDS = 300
DEPLOY_SECONDS = 300


class _TemplateLoader(yaml.SafeLoader):
    """Reads CloudFormation's YAML without resolving its functions."""


def _ignore_function(_loader: yaml.SafeLoader, _tag: str, node: yaml.Node) -> str:
    return str(node.value)


_TemplateLoader.add_multi_constructor("!", _ignore_function)


def parameter_defaults(template: Path) -> dict[str, str]:
    """The template's parameters with their defaults, those that are read from SSM as of this stage.

    A parameter without a default gets its value from `local_parameters`.
    """
    declared = yaml.load(template.read_text(), _TemplateLoader)["Parameters"]  # noqa: S506  # safe
    return {
        name: re.sub("^/chat/[^/]+/", f"/chat/{STAGE}/", str(parameter.get("Default", "")))
        for name, parameter in declared.items()
    }


def local_parameters(config: LocalStackConfig) -> dict[str, str]:
    """What differs from AWS, of every stack; a stack takes those that its template declares."""
    machine = platform.machine().lower()
    parameters = {
        "Stage": STAGE,
        "Architecture": "arm64" if machine in {"arm64", "aarch64"} else "x86_64",
        "ProtectData": "false",
        "JwtUserClaim": "username",
        "CognitoEndpoint": config.endpoint,
        "EmulatorEndpoint": f"127.0.0.1:{config.port}/_aws/execute-api",
        "RouteResponses": "false",
        "Traced": "false",
        "AllowTokenInQuery": "true",
        "PostRate": "0",
    }
    if config.model_url is not None:
        parameters |= {"ModelProvider": "openai", "ModelUrl": config.model_url.rstrip("/")}
    parameters["AllowedModels"] = config.model or MODEL_ID
    return parameters


class Stack:
    """One stack of the local stage."""

    def __init__(self, name: StackName, config: LocalStackConfig) -> None:
        self.name = name
        self.directory = STACKS_ROOT / name
        self.stack_name = f"chat-{STAGE}-{name}"
        self._config = config
        # As of now: what is edited during a build or a deployment is a change after it.
        self._sources_digest = self._digest_sources()

    @property
    def template(self) -> Path:
        return self.directory / "template.yaml"

    @property
    def _build_marker(self) -> Path:
        return self.directory / BUILD_MARKER

    def parameters(self) -> dict[str, str]:
        """Every parameter: one that is left out would keep the value it had."""
        overrides = local_parameters(self._config)
        return {
            name: overrides.get(name, default)
            for name, default in parameter_defaults(self.template).items()
        }

    def is_built(self) -> bool:
        """Whether what `sam build` left was built from the files as they are."""
        marker = self._build_marker
        return marker.exists() and marker.read_text() == self._sources_digest

    def build(self) -> None:
        """`sam build`.

        Raises:
            DevstackError: it failed.
        """
        self._build_marker.unlink(missing_ok=True)
        self._sam("build", ["build", "--build-in-source", "--parallel"], BUILD_SECONDS)
        self._build_marker.write_text(self._sources_digest)

    def is_deployed(self, cloudformation: "CloudFormationClient") -> bool:
        """Whether the emulator has this stack, from these files and parameters."""
        try:
            (stack,) = cloudformation.describe_stacks(StackName=self.stack_name)["Stacks"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ValidationError":
                return False
            raise
        tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
        return stack["StackStatus"] in DEPLOYED and tags.get(INPUTS_TAG) == self._deploy_digest()

    def deploy(self) -> None:
        """`sam deploy` of what was built.

        Raises:
            DevstackError: it failed.
        """
        # In JSON's quotes: `sam` takes an empty value in no other form.
        overrides = [f"{name}={json.dumps(value)}" for name, value in self.parameters().items()]
        self._sam(
            "deploy",
            [
                "deploy",
                "--stack-name",
                self.stack_name,
                "--region",
                REGION,
                "--resolve-s3",
                "--capabilities",
                "CAPABILITY_IAM",
                "CAPABILITY_NAMED_IAM",
                "CAPABILITY_AUTO_EXPAND",
                "--no-confirm-changeset",
                "--no-fail-on-empty-changeset",
                "--no-progressbar",
                "--tags",
                f"{INPUTS_TAG}={self._deploy_digest()}",
                "--parameter-overrides",
                *overrides,
            ],
            DEPLOY_SECONDS,
        )

    def _sam(self, verb: str, arguments: list[str], seconds: int) -> None:
        log = self._config.logs_dir / f"{verb}-{self.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        settings = environment(self._config.endpoint) | {"CHAT_PLATFORM": "native", "UV": uv()}
        with log.open("wb") as output:
            try:
                finished = subprocess.run(
                    [SAM, *arguments],
                    cwd=self.directory,
                    env=settings,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=seconds,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise DevstackError(
                    f"`sam {verb}` of {self.name} did not end within {seconds} s.", log=log
                ) from error
        if finished.returncode != 0:
            raise DevstackError(f"`sam {verb}` of {self.name} failed.", log=log)

    def _deploy_digest(self) -> str:
        return _digest_of({"sources": self._sources_digest, **self.parameters()})

    def _digest_sources(self) -> str:
        """Of the layer too, for every stack: a function takes a new layer when it is deployed."""
        members = set(re.findall(r"functions/(\w+)", self.template.read_text()))
        roots = [
            ROOT / "uv.lock",
            ROOT / "pyproject.toml",
            *sorted((ROOT / "tools").glob("*.mk")),
            ROOT / "libs" / "commons",
            *(ROOT / "functions" / member for member in sorted(members)),
            self.directory,
        ]
        return _digest_of(
            {
                str(file.relative_to(ROOT)): hashlib.sha256(file.read_bytes()).hexdigest()
                for root in roots
                for file in _files(root)
            }
            | {"python": platform.python_version(), "machine": platform.machine()}
        )


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for directory, names, files in root.walk():
        names[:] = sorted(name for name in names if name not in {"__pycache__", ".aws-sam"})
        yield from (directory / name for name in sorted(files))


def _digest_of(parts: Mapping[str, str]) -> str:
    lines = "\n".join(f"{name}\t{value}" for name, value in sorted(parts.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def published(clients: AwsClients) -> dict[str, str]:
    """What the stacks publish in SSM, by `{stack}/{name}`."""
    prefix = f"/chat/{STAGE}/"
    pages = (
        clients.ssm().get_paginator("get_parameters_by_path").paginate(Path=prefix, Recursive=True)
    )
    return {
        parameter["Name"].removeprefix(prefix): parameter["Value"]
        for page in pages
        for parameter in page["Parameters"]
    }
