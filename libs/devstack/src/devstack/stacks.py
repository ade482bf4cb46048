"""The four stacks: what they are made of, built and deployed with the real `sam` commands."""

import hashlib
import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml
from botocore.exceptions import ClientError

from devstack.aws import AwsClients, environment
from devstack.config import REGION, ROOT, STACKS_ROOT, STAGE, LocalStackConfig
from devstack.demo_model.openai import MODEL_ID
from devstack.emulator import uv
from devstack.errors import DevstackError
from devstack.processes import ProcessTable

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

type StackName = Literal["data", "websocket", "workers", "rest"]
type StackState = Literal["deployed", "out of date", "missing"]

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


TOOL_SERVERS = "tools/servers"
"""The SSM parameter, below the stage's prefix, that describes the tools' servers."""


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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a stack's deployment depends on besides its files and the settings.

    Attributes:
        published: what the stacks publish in SSM, by `{stack}/{name}`: a stack is deployed again
            when a value that it reads has changed.
        model_key_arn: of the secret that holds the model server's key; empty: it needs none.
        tool_secret_arns: comma list of the secrets that hold the tool servers' tokens.
    """

    published: Mapping[str, str] = field(default_factory=dict)
    model_key_arn: str = ""
    tool_secret_arns: str = ""


def local_parameters(
    config: LocalStackConfig, *, model_key_arn: str = "", tool_secret_arns: str = ""
) -> dict[str, str]:
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
        "EmulatorRights": str(config.enforce_rights).lower(),
        "AllowTokenInQuery": "true",
        "PostRate": "0",
        "ToolServers": f"{published_prefix(STAGE)}{TOOL_SERVERS}",
        "ToolSecretArns": tool_secret_arns,
        "ToolNetwork": "private",
        "AllowedOrigins": _with_our_own(config.allowed_origins, config.port),
    }
    if config.model_url is not None:
        parameters |= {
            "ModelProvider": "openai",
            "ModelUrl": config.model_url.rstrip("/"),
            "ModelApiKeySecretArn": model_key_arn,
        }
    if (sign_in := ProcessTable(config.processes_file).last("sign-in")) is not None:
        parameters["DemoSignInUrl"] = f"http://127.0.0.1:{sign_in.port}"
    parameters["AllowedModels"] = config.model or MODEL_ID
    return parameters


def _with_our_own(allowed_origins: str, port: int) -> str:
    """Where some origins are named, all others are refused: the stack's own web client is none."""
    if not allowed_origins:
        return ""
    return ",".join(
        [allowed_origins, *(f"http://{host}:{port}" for host in ("127.0.0.1", "localhost"))]
    )


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

    def parameters(self, surroundings: Surroundings) -> dict[str, str]:
        """Every parameter: one that is left out would keep the value it had."""
        overrides = local_parameters(
            self._config,
            model_key_arn=surroundings.model_key_arn,
            tool_secret_arns=surroundings.tool_secret_arns,
        )
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
        self._sam(["build", "--build-in-source", "--parallel"], BUILD_SECONDS)
        self._build_marker.write_text(self._sources_digest)

    def state(
        self, cloudformation: "CloudFormationClient", surroundings: Surroundings
    ) -> StackState:
        """What the emulator has of this stack."""
        deployed = describe(cloudformation, self.stack_name)
        if deployed is None or deployed["StackStatus"] not in DEPLOYED:
            return "missing"
        tags = {tag["Key"]: tag["Value"] for tag in deployed.get("Tags", [])}
        current = tags.get(INPUTS_TAG) == self._deploy_digest(surroundings)
        return "deployed" if current else "out of date"

    def deploy(self, surroundings: Surroundings) -> None:
        """`sam deploy` of what was built.

        Raises:
            DevstackError: it failed.
        """
        # In JSON's quotes: `sam` takes an empty value in no other form.
        parameters = self.parameters(surroundings)
        overrides = [f"{name}={json.dumps(value)}" for name, value in parameters.items()]
        digest = self._deploy_digest(surroundings)
        self._sam(
            [
                *deploy_arguments(self.stack_name),
                "--tags",
                f"{INPUTS_TAG}={digest}",
                "--parameter-overrides",
                *overrides,
            ],
            DEPLOY_SECONDS,
        )

    def _sam(self, arguments: list[str], seconds: int) -> None:
        run_sam(self._config, self.name, arguments, directory=self.directory, seconds=seconds)

    def _deploy_digest(self, surroundings: Surroundings) -> str:
        parameters = self.parameters(surroundings)
        prefix = published_prefix(STAGE)
        read = {
            f"read:{name}": surroundings.published.get(value.removeprefix(prefix), "")
            for name, value in parameters.items()
            if value.startswith(prefix)
        }
        return _digest_of({"sources": self._sources_digest, **parameters, **read})

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


def deploy_arguments(stack_name: str) -> list[str]:
    """Of `sam`, for any stack of the local stage."""
    return [
        "deploy",
        "--stack-name",
        stack_name,
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
    ]


def run_sam(
    config: LocalStackConfig, name: str, arguments: list[str], *, directory: Path, seconds: int
) -> None:
    """Runs `sam` in a directory, for the local stage.

    Raises:
        DevstackError: it failed, or took too long; its log is named.
    """
    verb = arguments[0]
    log = config.logs_dir / f"{verb}-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    settings = environment(config.endpoint) | {
        "CHAT_PLATFORM": "native",
        "CHAT_PYTHON": sys.executable,
        "UV": uv(),
    }
    with log.open("wb") as output:
        try:
            finished = subprocess.run(
                [SAM, *arguments],
                cwd=directory,
                env=settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DevstackError(
                f"`sam {verb}` of {name} did not end within {seconds} s.", log=log
            ) from error
    if finished.returncode != 0:
        raise DevstackError(f"`sam {verb}` of {name} failed.", log=log)


def describe(cloudformation: "CloudFormationClient", stack_name: str) -> "StackTypeDef | None":
    """The stack as CloudFormation knows it; None where there is none."""
    try:
        (stack,) = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ValidationError":
            return None
        raise
    return stack


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


def published_prefix(stage: str) -> str:
    return f"/chat/{stage}/"


def published(clients: AwsClients, stage: str = STAGE) -> dict[str, str]:
    """What a stage's stacks publish in SSM, by `{stack}/{name}`."""
    prefix = published_prefix(stage)
    pages = (
        clients.ssm().get_paginator("get_parameters_by_path").paginate(Path=prefix, Recursive=True)
    )
    return {
        parameter["Name"].removeprefix(prefix): parameter["Value"]
        for page in pages
        for parameter in page["Parameters"]
    }
