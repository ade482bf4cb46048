"""Packages, each built once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tests import packaging

type Build = Callable[..., Path]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds a folder of the workspace once, for this machine unless told otherwise."""

    @cache
    def built(folder: str, *, platform: str | None = "native", again: bool = False) -> Path:
        artifacts = tmp_path_factory.mktemp(f"{Path(folder).name}-{platform}-{again}")
        return packaging.build(folder, artifacts, platform=platform)

    return built


@pytest.fixture(scope="session")
def layer(build: Build) -> Path:
    return build("libs/commons")


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The AWS SDK and nothing else of this environment."""
    directory = tmp_path_factory.mktemp("runtime")
    for source in packaging.runtime_sources():
        (directory / source.name).symlink_to(source)
    return directory
