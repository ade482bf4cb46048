"""Each function is given what its settings read, and nothing else."""

import importlib
import tomllib

import pytest
from pydantic_settings import BaseSettings
from tools.templates import STACKS, STACKS_ROOT, environment_of, member_of, name_of

from commons.settings import FunctionSettings

from .conftest import template_of

ROOT = STACKS_ROOT.parent
FUNCTIONS = {
    name_of(function): (template, function)
    for stack in STACKS
    if (template := template_of(stack)).functions
    for function in template.functions.values()
}
MEMBERS = sorted(path.parent.name for path in ROOT.glob("functions/*/pyproject.toml"))
TABLES = {"CHAT_EVENTS_TABLE", "CHANNELS_TABLE", "CONNECTIONS_TABLE"}


def settings_of(function: str) -> type[BaseSettings] | None:
    """The settings class that the function's member defines, if it has any."""
    member = member_of(FUNCTIONS[function][1])
    if not (ROOT / "functions" / member / "src" / member / "settings.py").exists():
        return None
    module = importlib.import_module(f"{member}.settings")
    (settings,) = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, FunctionSettings)
        and value.__module__ == module.__name__
    ]
    return settings


def given(function: str) -> set[str]:
    template, resource = FUNCTIONS[function]
    names = environment_of(template, resource).keys()
    return {name for name in names if not name.startswith("POWERTOOLS_")}


def test_every_member_is_deployed_by_the_stack_that_its_name_begins_with() -> None:
    assert sorted({member_of(function) for _, function in FUNCTIONS.values()}) == MEMBERS
    for template, function in FUNCTIONS.values():
        assert member_of(function).startswith(f"{template.stack}_")


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_is_given_nothing_that_it_does_not_read(name: str) -> None:
    settings = settings_of(name)
    read = {name.upper() for name in settings.model_fields} if settings else TABLES
    assert given(name) - {"STAGE"} <= read | TABLES


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_is_given_all_that_it_needs(name: str) -> None:
    settings = settings_of(name)
    needed = (
        {name.upper() for name, field in settings.model_fields.items() if field.is_required()}
        if settings
        else set()
    )
    assert needed <= given(name)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_setting_that_has_a_default_is_given_all_the_same(name: str) -> None:
    """A template that says nothing would leave it to whoever wrote the code."""
    settings = settings_of(name)
    if settings is not None:
        assert {name.upper() for name in settings.model_fields} - TABLES <= given(name)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_may_touch_exactly_the_tables_that_it_is_given(name: str) -> None:
    template, function = FUNCTIONS[name]
    role = template.resources[function["Properties"]["Role"]["Fn::GetAtt"][0]]
    granted = {
        f"{table}_TABLE"
        for table, parameter in {
            "CHAT_EVENTS": "DataChatEventsTableArn",
            "CHANNELS": "DataChannelsTableArn",
            "CONNECTIONS": "DataConnectionsTableArn",
        }.items()
        if parameter in str(role)
    }
    assert granted == given(name) & TABLES


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_posts_frames_only_where_it_knows_where(name: str) -> None:
    template, function = FUNCTIONS[name]
    role = template.resources[function["Properties"]["Role"]["Fn::GetAtt"][0]]
    may_post = "execute-api:ManageConnections" in str(role)
    assert may_post == ("WEBSOCKET_CALLBACK_URL" in given(name))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_names_itself_in_logs_and_metrics(name: str) -> None:
    template, function = FUNCTIONS[name]
    environment = environment_of(template, function)
    member = member_of(function)
    assert environment["POWERTOOLS_SERVICE_NAME"] == member
    assert environment["POWERTOOLS_METRICS_NAMESPACE"] == "Chat"
    assert function["Properties"]["FunctionName"] == {"Fn::Sub": f"chat-${{Stage}}-{name}"}
    assert name in {member, f"{member}_queues"}
    assert function["Properties"]["Handler"] == f"{member}.handler.lambda_handler"
    assert function["Properties"]["CodeUri"] == f"../../functions/{member}"


def test_functions_run_the_python_that_the_code_is_checked_for() -> None:
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    for template, _ in FUNCTIONS.values():
        assert template.body["Globals"]["Function"]["Runtime"] == f"python{mypy['python_version']}"
