"""Each role grants what rights.yaml says, no more and no less."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tools.check_templates import ACTIONS_WITHOUT_RESOURCES, LOG_ACTIONS
from tools.templates import STACKS, Resource, listed, name_of, reference

from commons import keys

from .conftest import template_of

type Rights = dict[str, list[str]]

EXPECTED: dict[str, Rights] = yaml.safe_load((Path(__file__).parent / "rights.yaml").read_text())
ROLES = {
    name_of(function): template.resources[str(reference(function["Properties"]["Role"]))]
    for stack in STACKS
    for template in [template_of(stack)]
    for function in template.functions.values()
}
CONNECTIONS = re.compile(
    r"arn:\$\{AWS::Partition\}:execute-api:\$\{AWS::Region\}:\$\{AWS::AccountId\}:"
    r"\$\{(?P<api>\w+)\}/\$\{Stage\}/(?P<call>.*)"
)


def granted(role: Resource) -> Iterator[tuple[str, str]]:
    """Each resource with an action on it; all but logs and traces, which house rules hold."""
    for policy in role["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            condition = ""
            if "Fn::If" in statement:
                name, statement, otherwise = statement["Fn::If"]  # noqa: PLW2901 - unwrapped
                assert otherwise == {"Ref": "AWS::NoValue"}
                condition = f"If {name}: "
            actions = listed(statement["Action"])
            assert statement["Effect"] == "Allow"
            if set(actions) in (LOG_ACTIONS, ACTIONS_WITHOUT_RESOURCES):
                continue
            for resource in listed(statement["Resource"]):
                for action in actions:
                    yield condition + named(resource), action


def named(resource: object) -> str:
    match resource:
        case {"Fn::GetAtt": [name, attribute]}:
            return f"{name}.{attribute}"
        case {"Fn::Sub": str(text)} if found := CONNECTIONS.match(text):
            return f"{found['api']} {found['call']}"
        case {"Fn::Sub": text} | {"Ref": text}:
            return str(text)
    return str(resource)


@pytest.mark.parametrize("function", sorted(ROLES))
def test_a_role_grants_what_is_written_down(function: str) -> None:
    rights: Rights = {}
    for resource, action in granted(ROLES[function]):
        rights.setdefault(resource, []).append(action)
    assert {name: sorted(actions) for name, actions in rights.items()} == {
        name: sorted(actions) for name, actions in EXPECTED.get(function, {}).items()
    }, "a right was added or lost: say so in tests/unit/stacks/rights.yaml"


def test_nothing_is_written_down_of_a_function_that_there_is_not() -> None:
    assert EXPECTED.keys() == ROLES.keys()


def test_only_lambda_takes_a_role() -> None:
    for role in ROLES.values():
        (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert statement == {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }


def test_whoever_speaks_to_strangers_reaches_the_catalogue_and_no_other_row_of_the_channels() -> (
    None
):
    (policy,) = ROLES["workers_tools"]["Properties"]["Policies"]
    of_tables = [
        statement
        for statement in policy["PolicyDocument"]["Statement"]
        if "dynamodb:" in str(statement.get("Action"))
    ]
    (statement,) = of_tables
    assert statement["Condition"] == {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [keys.TOOL_SERVERS_PARTITION]}
    }
