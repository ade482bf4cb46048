"""What a deployment says of itself fits into what the templates take."""

import re
import subprocess
from pathlib import Path

import pytest
from tools.templates import STACKS_ROOT, Template

from devstack.deploying import release
from devstack.deploying.release import UNKNOWN, stamps, version


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A commit after the release v1.2.3."""
    monkeypatch.setattr(release, "ROOT", tmp_path)
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (
        ["init", "--quiet"],
        [*who, "commit", "--quiet", "--allow-empty", "--message", "one"],
        [*who, "tag", "--annotate", "v1.2.3", "--message", "v1.2.3"],
        [*who, "commit", "--quiet", "--allow-empty", "--message", "two"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.usefixtures("repository")
def test_the_version_counts_from_the_last_release() -> None:
    assert re.fullmatch("v1.2.3-1-g[0-9a-f]+", version())


def test_a_version_of_files_that_nobody_committed_says_so(repository: Path) -> None:
    file = repository / "file"
    file.write_text("one")
    subprocess.run(["git", "add", "file"], cwd=repository, check=True)
    assert version().endswith("-dirty")


def test_without_a_repository_the_version_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert version() == UNKNOWN


@pytest.mark.usefixtures("repository")
def test_the_templates_take_what_is_said() -> None:
    parameters = Template.load(STACKS_ROOT / "template.yaml").parameters
    for name, value in stamps().items():
        assert re.fullmatch(parameters[name]["AllowedPattern"], value), name
    assert re.fullmatch(parameters["Version"]["AllowedPattern"], UNKNOWN)


def test_two_deployments_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1_764_100_000.0, 1_764_100_001.0])
    monkeypatch.setattr("time.time", lambda: next(times))
    assert stamps()["DeploymentId"] != stamps()["DeploymentId"]
