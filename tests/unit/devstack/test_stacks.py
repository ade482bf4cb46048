"""What the local stage gives the templates, and what counts as a change."""

import shutil
from pathlib import Path

import pytest

from devstack import stacks
from devstack.config import STACKS_ROOT, LocalStackConfig
from devstack.stacks import DEPLOY_ORDER, Stack, local_parameters, parameter_defaults


@pytest.fixture
def config(tmp_path: Path) -> LocalStackConfig:
    return LocalStackConfig(local_dir=tmp_path, model_url=None, model=None)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of the shape of this one, to be changed."""
    root = tmp_path / "tree"
    for folder, name, content in [
        ("stacks/rest", "template.yaml", "Parameters: {}\n# functions/rest_api\n"),
        ("functions/rest_api/src", "handler.py", "one"),
        ("functions/rest_api/src/__pycache__", "handler.pyc", "one"),
        ("functions/other/src", "handler.py", "one"),
        ("libs/commons/src", "module.py", "one"),
        ("tools", "lambda.mk", "one"),
        (".", "uv.lock", "one"),
        (".", "pyproject.toml", "one"),
    ]:
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_text(content)
    monkeypatch.setattr(stacks, "ROOT", root)
    monkeypatch.setattr(stacks, "STACKS_ROOT", root / "stacks")
    return root


def mark_built(config: LocalStackConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def sam(stack: Stack, _verb: str, _arguments: list[str], _seconds: int) -> None:
        (stack.directory / ".aws-sam").mkdir(exist_ok=True)

    with monkeypatch.context() as patched:
        patched.setattr(Stack, "_sam", sam)
        Stack("rest", config).build()


def test_every_local_parameter_is_declared_by_some_template() -> None:
    config = LocalStackConfig(model_url="http://127.0.0.1:11434/v1", model="llama")
    declared = {
        name
        for stack in DEPLOY_ORDER
        for name in parameter_defaults(STACKS_ROOT / stack / "template.yaml")
    }

    assert set(local_parameters(config)) <= declared


@pytest.mark.parametrize("name", DEPLOY_ORDER)
def test_every_parameter_of_a_stack_gets_a_value_of_the_local_stage(
    name: stacks.StackName, config: LocalStackConfig
) -> None:
    stack = Stack(name, config)
    parameters = stack.parameters()

    assert parameters.keys() == parameter_defaults(stack.template).keys()
    assert parameters["Stage"] == "local"
    read = [value for value in parameters.values() if value.startswith("/chat/")]
    assert all(value.startswith("/chat/local/") for value in read)


def test_without_a_model_of_ones_own_the_demo_model_is_asked_by_bedrocks_protocol(
    config: LocalStackConfig,
) -> None:
    parameters = Stack("workers", config).parameters()

    assert parameters["ModelProvider"] == "bedrock"
    assert parameters["AllowedModels"] == "scripted-demo"


def test_a_model_of_ones_own_is_asked_at_its_url(tmp_path: Path) -> None:
    config = LocalStackConfig(
        local_dir=tmp_path, model_url="http://127.0.0.1:11434/v1/", model="llama3.2"
    )

    parameters = Stack("workers", config).parameters()

    assert parameters["ModelProvider"] == "openai"
    assert parameters["ModelUrl"] == "http://127.0.0.1:11434/v1"
    assert parameters["AllowedModels"] == "llama3.2"


def test_what_was_built_from_the_same_files_is_not_built_again(
    sources: Path, config: LocalStackConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not Stack("rest", config).is_built()
    mark_built(config, monkeypatch)

    assert Stack("rest", config).is_built()


@pytest.mark.parametrize(
    "changed",
    [
        "stacks/rest/template.yaml",
        "functions/rest_api/src/handler.py",
        "libs/commons/src/module.py",
        "tools/lambda.mk",
        "uv.lock",
    ],
)
def test_a_changed_input_asks_for_a_new_build(
    sources: Path, config: LocalStackConfig, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    mark_built(config, monkeypatch)

    with (sources / changed).open("a") as file:
        file.write("# two")

    assert not Stack("rest", config).is_built()


@pytest.mark.parametrize(
    "changed", ["functions/other/src/handler.py", "functions/rest_api/src/__pycache__/handler.pyc"]
)
def test_what_is_no_input_asks_for_none(
    sources: Path, config: LocalStackConfig, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    mark_built(config, monkeypatch)

    (sources / changed).write_text("two")

    assert Stack("rest", config).is_built()


def test_what_is_edited_during_a_build_counts_as_a_change(
    sources: Path, config: LocalStackConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit_meanwhile(stack: Stack, *_arguments: object) -> None:
        (stack.directory / ".aws-sam").mkdir()
        (sources / "functions/rest_api/src/handler.py").write_text("two")

    monkeypatch.setattr(Stack, "_sam", edit_meanwhile)
    Stack("rest", config).build()

    assert not Stack("rest", config).is_built()


def test_a_removed_file_is_a_change(
    sources: Path, config: LocalStackConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sources / "functions/rest_api/src/extra.py").write_text("one")
    mark_built(config, monkeypatch)

    shutil.rmtree(sources / "functions/rest_api/src")

    assert not Stack("rest", config).is_built()
