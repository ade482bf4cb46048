"""A deployment's names, said in one sentence where one of them is wrong."""

import pytest

from devstack.config import STACKS_ROOT
from devstack.deploying.plan import ALL, Plan
from devstack.errors import DevstackError
from devstack.stacks import DEPLOY_ORDER


@pytest.mark.parametrize("stack", [*DEPLOY_ORDER, ALL])
@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_a_stage_is_deployed_to_its_region_under_its_name(stack: str, stage: str) -> None:
    plan = Plan.of(stack, stage)

    assert plan.region == "eu-central-1"
    assert plan.stack_name == (f"chat-{stage}" if stack == ALL else f"chat-{stage}-{stack}")
    assert plan.overrides["Stage"] == stage


def test_a_stack_reads_from_those_before_it() -> None:
    assert Plan.of("data", "dev").reads == {}
    assert list(Plan.of("workers", "dev").reads) == ["data", "websocket"]
    assert list(Plan.of("rest", "dev").reads) == ["data", "websocket", "workers"]
    assert Plan.of("rest", "dev").reads["workers"] == ("/chat/dev/workers/allowed-models",)


@pytest.mark.parametrize(
    ("stack", "stage", "reason"),
    [
        ("", "dev", "STACK is one of data, websocket, workers, rest"),
        ("frontend", "dev", "There is no stack 'frontend'"),
        ("data", "staging", "There is no stage 'staging': .*samconfig.toml has dev, prod"),
    ],
)
def test_a_wrong_name_is_said(stack: str, stage: str, reason: str) -> None:
    with pytest.raises(DevstackError, match=reason):
        Plan.of(stack, stage)


def test_a_wrong_region_of_the_shell_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-nowhere-1")
    with pytest.raises(DevstackError, match="There is no region 'eu-nowhere-1'"):
        Plan.of("data", "dev")


def test_on_an_emulator_of_this_machine_it_gets_what_an_emulator_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4321")
    websocket, data = Plan.of("websocket", "dev"), Plan.of("data", "dev")

    assert websocket.overrides["EmulatorEndpoint"] == "127.0.0.1:4321/_aws/execute-api"
    assert websocket.overrides["RouteResponses"] == "false"
    assert data.overrides["CognitoEndpoint"] == "http://127.0.0.1:4321"
    assert websocket.overrides.keys() == set(Plan.of("websocket", "prod").overrides), STACKS_ROOT
    assert data.overrides["JwtUserClaim"] == "sub"


def test_on_aws_nothing_of_an_emulator_is_passed() -> None:
    assert Plan.of("rest", "dev").overrides["EmulatorEndpoint"] == ""
