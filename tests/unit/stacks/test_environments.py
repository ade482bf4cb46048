"""Each function is given what its settings read, and nothing else."""

import importlib
import tomllib

import pytest
from pydantic_settings import BaseSettings
from tools.templates import STACKS, STACKS_ROOT, Template, environment_of, member_of

from commons.settings import FunctionSettings

ROOT = STACKS_ROOT.parent
FUNCTIONS = {
    member_of(function): (template, function)
    for stack in STACKS
    if (template := Template.load(STACKS_ROOT / stack / "template.yaml")).functions
    for function in template.functions.values()
}
MEMBERS = sorted(path.parent.name for path in ROOT.glob("functions/*/pyproject.toml"))
TABLES = {"CHAT_EVENTS_TABLE", "CHANNELS_TABLE", "CONNECTIONS_TABLE"}


def settings_of(member: str) -> type[BaseSettings] | None:
    """The settings class that the member defines, if it has any."""
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


def given(member: str) -> set[str]:
    template, function = FUNCTIONS[member]
    names = environment_of(template, function).keys()
    return {name for name in names if not name.startswith("POWERTOOLS_")}


def test_every_member_is_deployed_by_the_stack_that_its_name_begins_with() -> None:
    assert sorted(FUNCTIONS) == MEMBERS
    for member, (template, _) in FUNCTIONS.items():
        assert member.startswith(f"{template.stack}_")


@pytest.mark.parametrize("member", MEMBERS)
def test_a_function_is_given_nothing_that_it_does_not_read(member: str) -> None:
    settings = settings_of(member)
    read = {name.upper() for name in settings.model_fields} if settings else TABLES
    assert given(member) - {"STAGE"} <= read | TABLES


@pytest.mark.parametrize("member", MEMBERS)
def test_a_function_is_given_all_that_it_needs(member: str) -> None:
    settings = settings_of(member)
    needed = (
        {name.upper() for name, field in settings.model_fields.items() if field.is_required()}
        if settings
        else set()
    )
    assert needed <= given(member)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_setting_that_has_a_default_is_given_all_the_same(member: str) -> None:
    """A template that says nothing would leave it to whoever wrote the code."""
    settings = settings_of(member)
    if settings is not None:
        assert {name.upper() for name in settings.model_fields} - TABLES <= given(member)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_function_may_touch_exactly_the_tables_that_it_is_given(member: str) -> None:
    template, function = FUNCTIONS[member]
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
    assert granted == given(member) & TABLES


@pytest.mark.parametrize("member", MEMBERS)
def test_a_function_posts_frames_only_where_it_knows_where(member: str) -> None:
    template, function = FUNCTIONS[member]
    role = template.resources[function["Properties"]["Role"]["Fn::GetAtt"][0]]
    may_post = "execute-api:ManageConnections" in str(role)
    assert may_post == ("WEBSOCKET_CALLBACK_URL" in given(member))


@pytest.mark.parametrize("member", MEMBERS)
def test_a_function_names_itself_in_logs_and_metrics(member: str) -> None:
    template, function = FUNCTIONS[member]
    environment = environment_of(template, function)
    assert environment["POWERTOOLS_SERVICE_NAME"] == member
    assert environment["POWERTOOLS_METRICS_NAMESPACE"] == "Chat"
    assert function["Properties"]["FunctionName"] == {"Fn::Sub": f"chat-${{Stage}}-{member}"}
    assert function["Properties"]["Handler"] == f"{member}.handler.lambda_handler"
    assert function["Properties"]["CodeUri"] == f"../../functions/{member}"


def test_functions_run_the_python_that_the_code_is_checked_for() -> None:
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    for template, _ in FUNCTIONS.values():
        assert template.body["Globals"]["Function"]["Runtime"] == f"python{mypy['python_version']}"
