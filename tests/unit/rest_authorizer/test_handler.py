"""The authorizer: what API Gateway gets for good tokens and bad."""

from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.doubles.canary import canary

from commons.auth.signing_keys import IssuerUnreachableError
from commons.errors import UnauthenticatedError
from commons.schemas.caller import Caller
from rest_authorizer import handler

ARN = "arn:aws:execute-api:eu-west-1:123456789012:api/dev/GET/v1/channels/abc"


class Verifier:
    """Believes one token."""

    def verify(self, token: str) -> Caller:
        if token == "good":
            return Caller(user_id="alice", name="Älice", expires_at=1_800_000_000)
        if token == "nameless":
            return Caller(user_id="bob", expires_at=1_800_000_000)
        if token == "unjudged":
            raise IssuerUnreachableError
        raise UnauthenticatedError("The token is not valid here.")


@pytest.fixture(autouse=True)
def _verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "token_verifier", Verifier)


@pytest.fixture
def context() -> LambdaContext:
    context = LambdaContext()
    context._function_name = "rest_authorizer"
    context._memory_limit_in_mb = 128
    context._invoked_function_arn = "arn:aws:lambda:eu-west-1:1:function:rest_authorizer"
    context._aws_request_id = "request-1"
    return context


def event(headers: dict[str, str] | None) -> dict[str, Any]:
    return {
        "type": "REQUEST",
        "methodArn": ARN,
        "resource": "/v1/channels/{channelId}",
        "path": "/v1/channels/abc",
        "httpMethod": "GET",
        "headers": headers,
        "queryStringParameters": {},
        "pathParameters": {"channelId": "abc"},
        "stageVariables": {},
        "requestContext": {"requestId": "r-1", "stage": "dev", "apiId": "api"},
    }


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_a_good_token_lets_its_user_in(name: str, context: LambdaContext) -> None:
    answer = handler.lambda_handler(event({name: "Bearer good"}), context)

    assert answer["principalId"] == "alice"
    assert answer["context"] == {"userId": "alice", "name": "Älice", "expiresAt": "1800000000"}


def test_the_policy_holds_for_the_whole_stage_because_it_is_cached(
    context: LambdaContext,
) -> None:
    answer = handler.lambda_handler(event({"Authorization": "Bearer good"}), context)

    (statement,) = answer["policyDocument"]["Statement"]
    assert statement == {
        "Action": "execute-api:Invoke",
        "Effect": "Allow",
        "Resource": "arn:aws:execute-api:eu-west-1:123456789012:api/dev/*",
    }


def test_a_user_without_a_name_has_none_in_the_context(context: LambdaContext) -> None:
    answer = handler.lambda_handler(event({"Authorization": "Bearer nameless"}), context)

    assert answer["context"] == {"userId": "bob", "expiresAt": "1800000000"}


@pytest.mark.parametrize(
    "headers",
    [
        None,
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer bad"},
        {"Authorization": "Basic good"},
        {"Authorization": "good"},
        {"X-Authorization": "Bearer good"},
    ],
)
def test_anything_else_is_denied_for_the_whole_stage(
    headers: dict[str, str] | None, context: LambdaContext
) -> None:
    answer = handler.lambda_handler(event(headers), context)

    (statement,) = answer["policyDocument"]["Statement"]
    assert (statement["Effect"], statement["Resource"]) == (
        "Deny",
        "arn:aws:execute-api:eu-west-1:123456789012:api/dev/*",
    )
    assert "context" not in answer


def test_a_bad_token_is_neither_logged_nor_told(context: LambdaContext) -> None:
    for header in (f"Bearer {canary('token')}", canary("token"), f"Basic {canary('token')}"):
        handler.lambda_handler(event({"Authorization": header}), context)


def test_a_token_that_cannot_be_judged_is_no_refusal_but_an_error_that_nobody_caches(
    context: LambdaContext,
) -> None:
    with pytest.raises(IssuerUnreachableError):
        handler.lambda_handler(event({"Authorization": "Bearer unjudged"}), context)


def test_tokens_and_names_are_not_logged(
    context: LambdaContext, caplog: pytest.LogCaptureFixture
) -> None:
    handler.lambda_handler(event({"Authorization": "Bearer good"}), context)

    (record,) = caplog.records
    assert "good" not in repr(vars(record))
