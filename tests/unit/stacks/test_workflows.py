"""Each stack is deployed by its own workflow when something of it changes, without keys."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.templates import STACKS, STACKS_ROOT

FOLDER = STACKS_ROOT.parent / ".github" / "workflows"


def workflow(name: str) -> dict[str, Any]:
    parsed: dict[Any, Any] = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
    # YAML 1.1 reads the key `on` as true.
    return {("on" if key is True else str(key)): value for key, value in parsed.items()}


@pytest.mark.parametrize("stack", STACKS)
def test_what_a_stack_is_made_of_deploys_it(stack: str) -> None:
    paths = workflow(f"deploy-{stack}")["on"]["push"]["paths"]
    assert f"stacks/{stack}/**" in paths
    if stack != "data":
        assert f"functions/{stack}_*/**" in paths


def test_a_changed_layer_reaches_every_stack_in_their_order() -> None:
    data = workflow("deploy-data")
    assert {"libs/commons/**", "uv.lock"} <= set(data["on"]["push"]["paths"])
    for before, stack in itertools.pairwise(STACKS):
        job = data["jobs"][stack]
        assert before in job["needs"]
        assert job["with"]["stack"] == stack


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yml")), ids=lambda path: path.stem)
def test_no_workflow_holds_a_key(path: Path) -> None:
    text = path.read_text()
    assert "secrets." not in text
    assert "aws-access-key-id" not in text


def test_the_gate_runs_what_every_machine_runs() -> None:
    steps = workflow("gate")["jobs"]["gate"]["steps"]
    assert any(step.get("run") == "bash .ci/run" for step in steps)


def test_production_is_deployed_from_a_release() -> None:
    guard, checkout, *_ = workflow("deploy")["jobs"]["deploy"]["steps"]
    assert guard["if"] == "inputs.stage == 'prod' && github.ref_type != 'tag'"
    assert "exit 1" in guard["run"]
    # The version counts from the last tag, which a shallow copy does not have.
    assert checkout["with"]["fetch-depth"] == 0


def test_a_release_is_a_tag_on_main_that_passed_the_gate_with_its_own_surface() -> None:
    job = workflow("release")["jobs"]["release"]
    assert job["if"] == "github.ref == 'refs/heads/main'"
    runs = [step["run"] for step in job["steps"] if "run" in step]
    gate = runs.index("bash .ci/run")
    assert "layer-surface --write" in runs[gate + 1]
    assert "git diff --exit-code -- libs/commons/surface.json" in runs[gate + 1]
    assert runs[-1].splitlines()[-1] == 'git push origin "$TAG"'
