"""What the REST stack serves, after SAM has translated it."""

import copy
import json
import re
from typing import Any

import pytest
from samtranslator.translator.transform import transform  # type: ignore[import-untyped]  # no stubs
from tools.check_templates import Template

from commons import errors
from commons.errors import ChatError
from commons.schemas.problem import PROBLEM_TYPE_PREFIX

CHANNEL = "/v1/channels/{channelId}"
MESSAGE = f"{CHANNEL}/messages/{{seq}}"
AUTHENTICATED = {
    ("POST", "/v1/channels"),
    ("GET", "/v1/channels"),
    ("GET", CHANNEL),
    ("PATCH", CHANNEL),
    ("DELETE", CHANNEL),
    ("GET", f"{CHANNEL}/members"),
    ("PUT", f"{CHANNEL}/members/{{userId}}"),
    ("DELETE", f"{CHANNEL}/members/{{userId}}"),
    ("POST", f"{CHANNEL}/messages"),
    ("GET", f"{CHANNEL}/messages"),
    ("GET", MESSAGE),
    ("PATCH", MESSAGE),
    ("DELETE", MESSAGE),
    ("PUT", f"{MESSAGE}/reactions/{{emoji}}"),
    ("DELETE", f"{MESSAGE}/reactions/{{emoji}}"),
    ("POST", f"{MESSAGE}/regenerate"),
    ("POST", f"{CHANNEL}/generations/cancel"),
    ("GET", f"{CHANNEL}/events"),
    ("PUT", f"{CHANNEL}/read"),
    ("GET", f"{CHANNEL}/presence"),
    ("POST", "/v1/tickets"),
    ("GET", "/v1/me"),
}
OPEN = {
    ("GET", "/v1/health"),
    ("GET", "/openapi.json"),
    ("GET", "/swagger"),
    ("GET", "/"),
}


class NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def translate(template: Template) -> dict[str, Any]:
    body = copy.deepcopy(dict(template.body))
    values = {name: each.get("Default", "") for name, each in template.parameters.items()}
    for function in (
        each for each in body["Resources"].values() if each["Type"] == "AWS::Serverless::Function"
    ):
        function["Properties"]["CodeUri"] = "s3://bucket/key"
    for layer in (
        each
        for each in body["Resources"].values()
        if each["Type"] == "AWS::Serverless::LayerVersion"
    ):
        layer["Properties"]["ContentUri"] = "s3://bucket/key"
    translated: dict[str, Any] = transform(body, values, NoManagedPolicies())
    return translated


@pytest.fixture
def rest(templates: dict[str, Template]) -> Template:
    return templates["rest"]


@pytest.fixture
def paths(rest: Template) -> dict[str, dict[str, Any]]:
    """The API's paths, each with its verbs, as API Gateway gets them."""
    found: dict[str, dict[str, Any]] = translate(rest)["Resources"]["RestApi"]["Properties"][
        "Body"
    ]["paths"]
    return found


def is_authorized(operation: dict[str, Any]) -> bool:
    return {"NONE": []} not in operation["security"]


def test_a_stack_is_translated(template: Template) -> None:
    types = {each["Type"] for each in translate(template)["Resources"].values()}
    assert not any(each.startswith("AWS::Serverless::") for each in types)


def test_every_route_of_the_contract_is_there_and_no_other(
    paths: dict[str, dict[str, Any]],
) -> None:
    routes = {(verb.upper(), path) for path, verbs in paths.items() for verb in verbs}
    preflights = {route for route in routes if route[0] == "OPTIONS"}
    assert routes - preflights == AUTHENTICATED | OPEN


def test_only_the_routes_that_the_contract_opens_need_no_token(
    paths: dict[str, dict[str, Any]],
) -> None:
    unauthorized = {
        (verb.upper(), path)
        for path, verbs in paths.items()
        for verb, operation in verbs.items()
        if not is_authorized(operation)
    }
    assert {route for route in unauthorized if route[0] != "OPTIONS"} == OPEN


def test_a_preflight_of_every_path_of_the_api_reaches_the_function(
    paths: dict[str, dict[str, Any]],
) -> None:
    for path, verbs in paths.items():
        if path.startswith("/v1/"):
            assert not is_authorized(verbs["options"]), path


def test_a_revoked_token_is_believed_for_a_minute_at_most(rest: Template) -> None:
    authorizer = rest.resources["RestApi"]["Properties"]["Auth"]["Authorizers"]["Bearer"]
    assert authorizer["Identity"] == {"Headers": ["Authorization"], "ReauthorizeEvery": 60}


class TestGatewayResponses:
    @pytest.fixture
    def responses(self, rest: Template) -> dict[str, dict[str, Any]]:
        """The properties of each, by type."""
        return {
            each["Properties"]["ResponseType"]: each["Properties"]
            for each in rest.of_type("AWS::ApiGateway::GatewayResponse").values()
        }

    @pytest.fixture
    def problems(self, responses: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {
            name: json.loads(each["ResponseTemplates"]["application/json"])
            for name, each in responses.items()
        }

    def test_each_is_a_problem_that_says_its_own_status(
        self, responses: dict[str, dict[str, Any]], problems: dict[str, dict[str, Any]]
    ) -> None:
        for name, problem in problems.items():
            assert problem.keys() == {"type", "title", "status", "detail"}
            assert str(problem["status"]) == responses[name]["StatusCode"]
            content_type = responses[name]["ResponseParameters"][
                "gatewayresponse.header.Content-Type"
            ]
            assert content_type == "'application/problem+json'"

    def test_each_is_one_that_the_function_would_answer(
        self, problems: dict[str, dict[str, Any]]
    ) -> None:
        known = {
            PROBLEM_TYPE_PREFIX + error.code: (error.status, error.title)
            for error in vars(errors).values()
            if isinstance(error, type) and issubclass(error, ChatError) and error is not ChatError
        }
        for problem in problems.values():
            if problem["status"] < 500:
                assert known[problem["type"]] == (problem["status"], problem["title"])

    @pytest.mark.parametrize(
        ("response_type", "status"),
        [
            ("UNAUTHORIZED", 401),
            ("ACCESS_DENIED", 401),
            ("MISSING_AUTHENTICATION_TOKEN", 404),
            ("INVALID_SIGNATURE", 404),
            ("RESOURCE_NOT_FOUND", 404),
            ("DEFAULT_4XX", 404),
            ("BAD_REQUEST_BODY", 400),
            ("REQUEST_TOO_LARGE", 413),
            ("UNSUPPORTED_MEDIA_TYPE", 415),
            ("THROTTLED", 429),
            ("DEFAULT_5XX", 500),
        ],
    )
    def test_a_status_is_the_contracts(
        self, problems: dict[str, dict[str, Any]], response_type: str, status: int
    ) -> None:
        assert problems[response_type]["status"] == status

    def test_who_is_throttled_hears_when_to_come_back(
        self, responses: dict[str, dict[str, Any]]
    ) -> None:
        for name, response in responses.items():
            says = "gatewayresponse.header.Retry-After" in response["ResponseParameters"]
            assert says == (response["StatusCode"] == "429"), name

    def test_each_is_published_by_a_deployment_made_after_it(self, rest: Template) -> None:
        responses = rest.of_type("AWS::ApiGateway::GatewayResponse").keys()
        deployments = rest.of_type("AWS::ApiGateway::Deployment")
        assert {each["Condition"] for each in deployments.values()} == {
            "HasAllowedOrigins",
            "HasNoAllowedOrigins",
        }
        for each in deployments.values():
            assert {*responses, "RestApiStage"} == set(each["DependsOn"])
            assert each["DeletionPolicy"] == "Retain"

    def test_none_tells_what_it_is_made_of(self, problems: dict[str, dict[str, Any]]) -> None:
        assert not re.search(r"\$|arn:|[Ll]ambda|[Aa]uthorizer", json.dumps(problems))
