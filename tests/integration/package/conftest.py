"""Packages as `sam build` makes them, with the same recipe."""

import importlib.util
import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from devstack.config import ROOT
from devstack.emulator import uv

RUNTIME_PACKAGES = ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six"]
"""What Lambda's Python runtime brings, by import name."""

type Build = Callable[..., Path]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds a folder of the workspace once, for this machine unless told otherwise."""

    @cache
    def built(folder: str, *, platform: str | None = "native", again: bool = False) -> Path:
        artifacts = tmp_path_factory.mktemp(f"{Path(folder).name}-{platform}-{again}")
        inherited = {name: value for name, value in os.environ.items() if name != "CHAT_PLATFORM"}
        environment = {**inherited, "ARTIFACTS_DIR": str(artifacts), "UV": uv()}
        if platform is not None:
            environment["CHAT_PLATFORM"] = platform
        subprocess.run(
            ["make", "build-Package"],
            cwd=ROOT / folder,
            env=environment,
            check=True,
            capture_output=True,
        )
        return artifacts

    return built


@pytest.fixture(scope="session")
def layer(build: Build) -> Path:
    return build("libs/commons")


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The AWS SDK and nothing else of this environment."""
    directory = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME_PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (directory / source.name).symlink_to(source)
    return directory
