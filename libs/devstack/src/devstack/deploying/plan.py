"""What is to be deployed where: a stage of one stack, or of all, by its samconfig.toml."""

import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import boto3

from devstack.config import STACKS_ROOT, LocalStackConfig
from devstack.errors import DevstackError
from devstack.stacks import DEPLOY_ORDER, local_parameters

ALL = "all"
"""The root template, which nests the four."""

EMULATED_PARAMETERS = frozenset(
    {"Architecture", "CognitoEndpoint", "EmulatorEndpoint", "RouteResponses", "Traced"}
)
"""What an emulator needs otherwise than AWS, whatever the stage says."""


@dataclass(frozen=True)
class Plan:
    """One deployment, before anything is looked at.

    Attributes:
        stack: one of the four, or `all`.
        overrides: every parameter of the template.
        reads: the SSM names that it reads, by the stack that writes them.
    """

    stack: str
    stage: str
    directory: Path
    region: str
    stack_name: str
    overrides: dict[str, str]
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, stack: str, stage: str, *, root: Path | None = None) -> "Plan":
        """The plan of a stack's stage.

        Raises:
            DevstackError: there is no such stack, stage or region.
        """
        stacks_root = root or STACKS_ROOT
        if stack not in (*DEPLOY_ORDER, ALL):
            raise DevstackError(
                f"There is no stack {stack!r}: STACK is one of {', '.join(DEPLOY_ORDER)}."
            )
        directory = stacks_root if stack == ALL else stacks_root / stack
        file = directory / "samconfig.toml"
        settings = tomllib.loads(file.read_text())
        stages = sorted(name for name, value in settings.items() if isinstance(value, dict))
        if stage not in stages:
            raise DevstackError(
                f"There is no stage {stage!r}: {file} has {', '.join(stages)}. "
                "Copy one of them there and put the new name in."
            )
        general = settings[stage]["global"]["parameters"]
        overrides = dict(settings[stage]["deploy"]["parameters"]["parameter_overrides"])
        if is_emulated():
            overrides |= _emulated(overrides)
        return cls(
            stack=stack,
            stage=stage,
            directory=directory,
            region=_known_region(general["region"], file),
            stack_name=general["stack_name"],
            overrides=overrides,
            reads={} if stack == ALL else _reads(stage, overrides),
        )

    def session(self) -> boto3.session.Session:
        return boto3.session.Session(region_name=self.region)


def region_of(stage: str) -> str:
    """Where the stage's data stack is deployed.

    Raises:
        DevstackError: there is no such stage.
    """
    return Plan.of("data", stage).region


def is_emulated() -> bool:
    """Whether this shell's AWS is an emulator of this machine."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    return urlsplit(endpoint).hostname in {"localhost", "127.0.0.1", "::1"}


def _emulated(overrides: dict[str, str]) -> dict[str, str]:
    port = urlsplit(os.environ["AWS_ENDPOINT_URL"]).port
    config = LocalStackConfig(port=port) if port else LocalStackConfig()
    parameters = local_parameters(config)
    return {name: parameters[name] for name in EMULATED_PARAMETERS & overrides.keys()}


def _known_region(region: str, file: Path) -> str:
    known = boto3.session.Session().get_available_regions("cloudformation")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        wanted = os.environ.get(name)
        if wanted and wanted not in known:
            raise DevstackError(f"There is no region {wanted!r} ({name} of this shell).")
    if region not in known:
        raise DevstackError(f"There is no region {region!r} ({file}).")
    return region


def _reads(stage: str, overrides: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """What the values name in SSM: the stacks' README say what each is for."""
    found: dict[str, list[str]] = {}
    for value in overrides.values():
        if published := re.fullmatch(rf"/chat/{re.escape(stage)}/(\w+)/[a-z-]+", value):
            found.setdefault(published[1], []).append(value)
    return {writer: tuple(found[writer]) for writer in sorted(found, key=_position)}


def _position(stack: str) -> int:
    return [str(each) for each in DEPLOY_ORDER].index(stack)
