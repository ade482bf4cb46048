"""What the local stage gives the templates, and what counts as a change."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from devstack import stacks
from devstack.aws import environment
from devstack.config import STACKS_ROOT, LocalStackConfig
from devstack.stacks import (
    DEPLOY_ORDER,
    INPUTS_TAG,
    Stack,
    Surroundings,
    local_parameters,
    parameter_defaults,
)


@pytest.fixture
def config(tmp_path: Path) -> LocalStackConfig:
    return LocalStackConfig(local_dir=tmp_path, model_url=None, model=None, model_key=None)


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
    def sam(stack: Stack, _arguments: list[str], _seconds: int) -> None:
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
    parameters = stack.parameters(Surroundings())

    assert parameters.keys() == parameter_defaults(stack.template).keys()
    assert parameters["Stage"] == "local"
    read = [value for value in parameters.values() if value.startswith("/chat/")]
    assert all(value.startswith("/chat/local/") for value in read)


def test_without_a_model_of_ones_own_the_demo_model_is_asked_by_bedrocks_protocol(
    config: LocalStackConfig,
) -> None:
    parameters = Stack("workers", config).parameters(Surroundings())

    assert parameters["ModelProvider"] == "bedrock"
    assert parameters["AllowedModels"] == "scripted-demo"


def test_a_model_of_ones_own_is_asked_at_its_url(tmp_path: Path) -> None:
    config = LocalStackConfig(
        local_dir=tmp_path, model_url="http://127.0.0.1:11434/v1/", model="llama3.2"
    )

    parameters = Stack("workers", config).parameters(Surroundings())

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


class CloudFormation:
    """Knows one stack, by the tags that it was deployed with."""

    def __init__(self) -> None:
        self.tags: dict[str, str] | None = None

    def describe_stacks(self, **_name: str) -> dict[str, Any]:
        if self.tags is None:
            raise ClientError({"Error": {"Code": "ValidationError"}}, "DescribeStacks")
        tags = [{"Key": key, "Value": value} for key, value in self.tags.items()]
        return {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Tags": tags}]}

    def deploy(self, arguments: list[str]) -> None:
        (tag,) = [each for each in arguments if each.startswith(f"{INPUTS_TAG}=")]
        self.tags = dict([tag.split("=", 1)])


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Any:
    known = CloudFormation()
    monkeypatch.setattr(Stack, "_sam", lambda _stack, given, _seconds: known.deploy(given))
    return known


PUBLISHED = {"workers/allowed-models": "llama3.2", "websocket/url": "ws://x"}


def test_a_stack_is_out_of_date_once_a_value_that_it_reads_has_changed(
    config: LocalStackConfig, cloudformation: Any
) -> None:
    rest = Stack("rest", config)
    before = Surroundings(PUBLISHED)
    assert rest.state(cloudformation, before) == "missing"

    rest.deploy(before)

    assert rest.state(cloudformation, before) == "deployed"
    for changed, state in [
        ({"workers/allowed-models": "mistral"}, "out of date"),
        ({"workers/another": "x"}, "deployed"),
    ]:
        assert rest.state(cloudformation, Surroundings({**PUBLISHED, **changed})) == state


def test_origins_reach_both_apis(tmp_path: Path) -> None:
    config = LocalStackConfig(local_dir=tmp_path, allowed_origins="http://localhost:5173")

    for name in ("rest", "websocket"):
        parameters = Stack(name, config).parameters(Surroundings())
        assert parameters["AllowedOrigins"].split(",") == [
            "http://localhost:5173",
            f"http://127.0.0.1:{config.port}",
            f"http://localhost:{config.port}",
        ]


def test_the_key_of_a_model_server_is_a_secret_and_no_parameter(
    tmp_path: Path, cloudformation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LocalStackConfig(
        local_dir=tmp_path,
        model_url="http://127.0.0.1:11434/v1",
        model="llama3.2",
        model_key=SecretStr("sk-very-secret"),
    )
    given: list[str] = []
    monkeypatch.setattr(Stack, "_sam", lambda _stack, arguments, _seconds: given.extend(arguments))

    Stack("workers", config).deploy(Surroundings(model_key_arn="arn:secret"))

    assert 'ModelApiKeySecretArn="arn:secret"' in given
    assert "sk-very-secret" not in " ".join(given)
    assert "sk-very-secret" not in repr(config)


def test_no_other_process_inherits_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_MODEL_KEY", "sk-very-secret")
    monkeypatch.setenv("CHAT_OTHER", "kept")

    inherited = environment("http://127.0.0.1:1")

    assert "CHAT_MODEL_KEY" not in inherited
    assert inherited["CHAT_OTHER"] == "kept"
