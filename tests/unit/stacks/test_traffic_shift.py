"""A new version of what somebody waits for takes over by degrees, and alarms turn it back."""

import re
from typing import Any

import pytest
from samtranslator.model.preferences.deployment_preference_collection import (  # type: ignore[import-untyped]  # no stubs
    CODEDEPLOY_PREDEFINED_CONFIGURATIONS_LIST,
)
from tests.unit.stacks.test_configuration import overrides_of
from tests.unit.stacks.translation import live, translate
from tools.templates import STACKS_ROOT, Template, reference, statements

AT_ONCE = "none"
GRADUAL = ("Canary10Percent5Minutes", "Canary10Percent15Minutes", "Linear10PercentEvery1Minute")
WHOLE_API = {"rest": "ServerErrorsAlarm", "websocket": "ExecutionErrorsAlarm"}
ALARM_MINUTES = 5


@pytest.fixture(params=["rest", "websocket"])
def waited_for(request: pytest.FixtureRequest, templates: dict[str, Template]) -> Template:
    """Each stack whose functions somebody waits for."""
    return templates[request.param]


def of_type(resources: dict[str, Any], resource_type: str) -> dict[str, Any]:
    return {name: each for name, each in resources.items() if each["Type"] == resource_type}


def test_the_parameter_takes_what_is_known_here_and_by_sam(waited_for: Template) -> None:
    parameter = waited_for.parameters["TrafficShift"]
    mapping = waited_for.body["Mappings"]["TrafficShifts"]
    assert parameter["AllowedValues"] == list(mapping) == [AT_ONCE, *GRADUAL]
    assert [shift for shift, each in mapping.items() if each["IsGradual"]] == list(GRADUAL)
    assert set(GRADUAL) <= set(CODEDEPLOY_PREDEFINED_CONFIGURATIONS_LIST)


def test_production_alone_shifts_by_degrees(waited_for: Template) -> None:
    directory = STACKS_ROOT / waited_for.stack
    assert waited_for.parameters["TrafficShift"]["Default"] == AT_ONCE
    assert overrides_of(directory, "dev")["TrafficShift"] == AT_ONCE
    assert overrides_of(directory, "prod")["TrafficShift"] in GRADUAL


def test_a_version_that_takes_over_at_once_needs_nothing_of_codedeploy(
    waited_for: Template,
) -> None:
    resources = translate(waited_for, TrafficShift=AT_ONCE)["Resources"]
    assert not [each for each in resources.values() if "CodeDeploy" in each["Type"]]
    assert not [each for each in resources.values() if "UpdatePolicy" in each]
    assert resources["TrafficShiftRole"]["Condition"] == "ShiftsTraffic"


@pytest.mark.parametrize("shift", GRADUAL)
def test_each_function_is_shifted_as_the_parameter_says(waited_for: Template, shift: str) -> None:
    resources = translate(waited_for, TrafficShift=shift)["Resources"]
    groups = of_type(resources, "AWS::CodeDeploy::DeploymentGroup")
    assert groups.keys() == {f"{name}DeploymentGroup" for name in waited_for.functions}
    for function in waited_for.functions:
        group = groups[f"{function}DeploymentGroup"]["Properties"]
        assert group["DeploymentConfigName"] == {
            "Fn::Sub": ["CodeDeployDefault.Lambda${ConfigName}", {"ConfigName": shift}]
        }
        role = {"Fn::GetAtt": ["TrafficShiftRole", "Arn"]}
        assert group["ServiceRoleArn"] == {
            "Fn::If": ["ShiftsTraffic", role, {"Ref": "AWS::NoValue"}]
        }
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        update = resources[f"{function}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        assert update["DeploymentGroupName"] == {"Ref": f"{function}DeploymentGroup"}
    # SAM's own role may do its work on everything of the account.
    assert not [name for name in resources if name.startswith("CodeDeployServiceRole")]


def test_what_rings_for_a_function_or_its_api_turns_its_version_back(waited_for: Template) -> None:
    for name, function in waited_for.functions.items():
        alarms = {
            str(reference(each))
            for each in function["Properties"]["DeploymentPreference"]["Alarms"]
        }
        own = {
            alarm
            for alarm in waited_for.alarms
            if re.fullmatch(f"{name.removesuffix('Function')}(Errors|Unhandled)Alarm", alarm)
        }
        assert own
        assert alarms == {*own, WHOLE_API[waited_for.stack]}


def test_an_alarm_can_ring_while_there_is_a_way_back(waited_for: Template) -> None:
    for function in waited_for.functions.values():
        for alarm in function["Properties"]["DeploymentPreference"]["Alarms"]:
            properties = waited_for.alarms[str(reference(alarm))]["Properties"]
            assert properties["Period"] * properties["EvaluationPeriods"] <= ALARM_MINUTES * 60
    for shift in GRADUAL:
        percent, minutes = re.fullmatch(r"\D+(\d+)Percent\D*(\d+)Minutes?", shift).groups()  # type: ignore[union-attr]  # it matches
        steps = 1 if shift.startswith("Canary") else 100 // int(percent)
        assert int(minutes) * steps >= ALARM_MINUTES


def test_the_api_calls_the_alias_and_may(waited_for: Template) -> None:
    resources = translate(waited_for)["Resources"]
    text = str(
        [
            of_type(resources, each)
            for each in ("AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::Integration")
        ]
    )
    permitted = {
        str(each["Properties"]["FunctionName"])
        for each in of_type(resources, "AWS::Lambda::Permission").values()
    }
    admitted = set()
    for function in waited_for.functions:
        called = live(function)
        assert str(called) in text
        allowed = {str(called), str(called["Fn::If"][2])}
        assert permitted & allowed
        admitted |= allowed
    assert permitted <= admitted


def test_every_deployment_publishes_versions_that_differ(waited_for: Template) -> None:
    """SAM names a version after the code's place, not after the values that a function is given.

    And Lambda publishes none where nothing has changed: the id goes into the description.
    """
    first, second = (
        translate(waited_for, DeploymentId=each, Version="v1.2.3")["Resources"]
        for each in ("6925f0a4", "6925f0a5")
    )
    for function in waited_for.functions:
        assert f"{function}Version6925f0a4" in first
        assert f"{function}Version6925f0a5" in second
        assert first[function]["Properties"]["Description"] == "v1.2.3 6925f0a4"


def test_codedeploy_may_move_the_aliases_of_its_stack_and_nothing_else(
    waited_for: Template,
) -> None:
    role = waited_for.resources["TrafficShiftRole"]
    (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "codedeploy.amazonaws.com"}
    granted = {
        action: each["Resource"]["Fn::Sub"].rpartition("${AWS::AccountId}:")[2]
        for each in statements(role)
        for action in each["Action"]
    }
    functions = f"function:chat-${{Stage}}-{waited_for.stack}_*"
    assert granted == {
        "lambda:GetAlias": functions,
        "lambda:UpdateAlias": functions,
        "lambda:GetProvisionedConcurrencyConfig": functions,
        "cloudwatch:DescribeAlarms": "alarm:*",
    }
