"""An account that is not ready is told so at once, with what mends it, before anything runs."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import NoCredentialsError
from moto import mock_aws

from devstack.deploying import preflight
from devstack.deploying.plan import ALL, Plan
from devstack.deploying.preflight import require_ready
from devstack.errors import DevstackError

REGION = "eu-central-1"
TEMPLATE = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty account; moto knows neither API Gateway's account nor Bedrock's access."""
    unknown = {preflight._log_role, preflight._model}
    looks = tuple(each for each in preflight._LOOKS if each not in unknown)
    monkeypatch.setattr(preflight, "_LOOKS", looks)
    with mock_aws():
        yield


def deploy_elsewhere(name: str) -> None:
    boto3.client("cloudformation", region_name=REGION).create_stack(
        StackName=name, TemplateBody=TEMPLATE
    )


def complaints(plan: Plan) -> str:
    with pytest.raises(DevstackError) as refused:
        require_ready(plan)
    return refused.value.message


def publish(plan: Plan, *writers: str) -> None:
    names = [name for writer in writers for name in plan.reads[writer]]
    parameters = {
        f"Parameter{number}": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {"Name": name, "Type": "String", "Value": "x"},
        }
        for number, name in enumerate(names)
    }
    boto3.client("cloudformation", region_name=REGION).create_stack(
        StackName="published", TemplateBody=json.dumps({"Resources": parameters})
    )


def test_a_ready_account_passes() -> None:
    require_ready(Plan.of("data", "dev"))


def test_every_stack_that_has_not_published_yet_is_named_with_its_command() -> None:
    plan = Plan.of("rest", "dev")
    publish(plan, "data")

    said = complaints(plan)

    assert "The stack data" not in said
    assert "The stack websocket has not published api-id, " in said
    assert "make deploy STACK=websocket STAGE=dev" in said
    assert "make deploy STACK=workers STAGE=dev" in said
    assert said.endswith("Nothing was built or uploaded.")


def test_what_is_published_for_another_stage_is_not_taken() -> None:
    publish(Plan.of("websocket", "prod"), "data")

    assert "The stack data has not published" in complaints(Plan.of("websocket", "dev"))


def test_a_missing_log_role_is_mended_by_make_account(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Any] = {}

    class Session:
        def client(self, name: str) -> "Session":
            assert name == "apigateway"
            return self

        def get_account(self) -> dict[str, Any]:
            return answers

    plan = Plan.of("rest", "dev")
    (missing,) = preflight._log_role(Session(), plan)  # type: ignore[arg-type]  # its part of one
    assert missing.mend.startswith("make account STAGE=dev")
    answers["cloudwatchRoleArn"] = "arn:aws:iam::1:role/logs"
    assert list(preflight._log_role(Session(), plan)) == []  # type: ignore[arg-type]  # likewise


def test_production_needs_somebody_who_hears_alarms() -> None:
    said = complaints(Plan.of("data", "prod"))

    assert "stage prod needs AlarmTopicArn" in said
    assert "make account STAGE=prod" in said


def test_a_topic_that_there_is_not_is_said() -> None:
    plan = Plan.of("data", "dev")
    plan.overrides["AlarmTopicArn"] = f"arn:aws:sns:{REGION}:123456789012:nobody"

    assert "There is no topic arn:aws:sns" in complaints(plan)


def test_a_stage_that_is_deployed_whole_takes_no_single_stack() -> None:
    deploy_elsewhere("chat-dev")

    assert "make deploy-all STAGE=dev" in complaints(Plan.of("data", "dev"))


def test_a_stage_that_is_deployed_stack_by_stack_is_not_deployed_whole() -> None:
    deploy_elsewhere("chat-dev-data")

    assert "stack by stack (chat-dev-data)" in complaints(Plan.of(ALL, "dev"))


@pytest.mark.parametrize("state", ["ROLLBACK_COMPLETE", "DELETE_FAILED"])
def test_what_an_earlier_deployment_left_is_to_be_destroyed_first(
    monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(
        preflight, "state_of", lambda _session, name: state if name == "chat-dev-data" else None
    )

    said = complaints(Plan.of("data", "dev"))

    assert f"chat-dev-data is {state}" in said
    assert "make destroy STACK=data STAGE=dev" in said


def test_a_shell_without_credentials_is_told_how_to_sign_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Sts:
        def get_caller_identity(self) -> None:
            raise NoCredentialsError

    monkeypatch.setattr(boto3.session.Session, "client", lambda _self, _name: Sts())

    said = complaints(Plan.of("data", "dev"))

    assert "no AWS credentials" in said
    assert "aws sso login" in said


class Bedrock:
    """What Bedrock says of a model."""

    def __init__(self, **statuses: str) -> None:
        self.statuses = statuses
        self.asked: list[str] = []

    def client(self, name: str) -> "Bedrock":
        assert name == "bedrock"
        return self

    def get_foundation_model_availability(self, *, modelId: str) -> dict[str, Any]:  # noqa: N803
        self.asked.append(modelId)
        return {
            "agreementAvailability": {"status": self.statuses.get("agreement", "AVAILABLE")},
            "authorizationStatus": self.statuses.get("authorization", "AUTHORIZED"),
            "entitlementAvailability": self.statuses.get("entitlement", "AVAILABLE"),
            "regionAvailability": self.statuses.get("region", "AVAILABLE"),
        }


def test_a_model_is_asked_for_by_its_own_name_not_its_profiles() -> None:
    bedrock = Bedrock()

    assert list(preflight._model(bedrock, Plan.of("workers", "dev"))) == []  # type: ignore[arg-type]  # its part of a session
    assert bedrock.asked == ["amazon.nova-lite-v1:0"]


def test_a_model_without_access_is_said() -> None:
    bedrock = Bedrock(agreement="NOT_AVAILABLE")

    (missing,) = preflight._model(bedrock, Plan.of("workers", "dev"))  # type: ignore[arg-type]  # its part of a session
    assert (
        missing.what
        == "The account has no access to amazon.nova-lite-v1:0: the agreement is missing."
    )
