"""What the REST stack serves, after SAM has translated it."""

import json
import re
from typing import Any

import pytest
from tests.unit.stacks.translation import live, translate
from tools import gateway_api
from tools.templates import STACKS_ROOT, Template

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
    ("GET", f"{CHANNEL}/generations"),
    ("POST", f"{CHANNEL}/generations/cancel"),
    ("GET", f"{CHANNEL}/usage"),
    ("POST", f"{CHANNEL}/tools/{{callId}}/decision"),
    ("GET", "/v1/tools"),
    ("GET", f"{CHANNEL}/events"),
    ("PUT", f"{CHANNEL}/read"),
    ("GET", f"{CHANNEL}/presence"),
    ("POST", "/v1/tickets"),
    ("GET", "/v1/me"),
}
WEB_CLIENT = {("GET", "/"), ("GET", "/assets/{version}/{file}")}
OPEN = {
    ("GET", "/v1/health"),
    ("GET", "/openapi.json"),
    ("GET", "/asyncapi.json"),
    ("GET", "/swagger"),
    *WEB_CLIENT,
}


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
    return operation.get("security") == [{"Bearer": []}]


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


def test_the_template_has_what_the_description_says() -> None:
    document = json.loads(gateway_api.DOCUMENT.read_text(encoding="utf-8"))
    template = gateway_api.TEMPLATE.read_text(encoding="utf-8")
    assert template == gateway_api.write(template, document), "run: poe describe"


def test_every_route_calls_the_function_of_the_api_or_of_the_web_client(
    paths: dict[str, dict[str, Any]],
) -> None:
    for path, verbs in paths.items():
        for verb, operation in verbs.items():
            integration = operation["x-amazon-apigateway-integration"]
            is_web_client = (verb.upper(), path) in WEB_CLIENT
            function = "RestWebFunction" if is_web_client else "RestApiFunction"
            assert integration["type"] == "aws_proxy"
            assert integration["httpMethod"] == "POST"
            text, called = integration["uri"]["Fn::Sub"]
            assert "functions/${Called}/invocations" in text
            assert called == {"Called": live(function)}


def test_one_permission_lets_the_api_call_a_function_whatever_its_routes(rest: Template) -> None:
    """A resource policy has 20 KB at most, and a statement a route filled it."""
    permissions = [
        each["Properties"]
        for each in translate(rest)["Resources"].values()
        if each["Type"] == "AWS::Lambda::Permission"
    ]
    sources = {
        each["FunctionName"]["Ref"]: each["SourceArn"]["Fn::Sub"].rpartition(":")[2]
        for each in permissions
    }
    assert len(permissions) == len(sources)
    assert sources == {
        "RestApiFunctionAliaslive": "${RestApi}/${Stage}/*",
        "RestAuthorizerFunctionAliaslive": "${RestApi}/authorizers/*",
        "RestWebFunctionAliaslive": "${RestApi}/${Stage}/GET/*",
    }


@pytest.mark.parametrize(
    ("address", "is_admitted"),
    [
        ("", True),
        ("http://127.0.0.1:4568", True),
        ("http://127.0.0.1:4568.example.com", False),
        ("https://sign-in.example.com", False),
    ],
)
def test_demo_users_sign_in_at_the_browsers_own_machine_or_nowhere(
    rest: Template, address: str, is_admitted: bool
) -> None:
    pattern = rest.parameters["DemoSignInUrl"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, address)) is is_admitted


def test_every_deployment_of_the_stack_deploys_the_api(rest: Template) -> None:
    """A deployment is named after the body's text, which holds no parameter's value."""
    assert rest.resources["RestApi"]["Properties"]["AlwaysDeploy"] is True


def test_a_revoked_token_is_believed_for_a_minute_at_most(rest: Template) -> None:
    body = rest.resources["RestApi"]["Properties"]["DefinitionBody"]
    authorizer = body["components"]["securitySchemes"]["Bearer"]["x-amazon-apigateway-authorizer"]
    assert authorizer["authorizerResultTtlInSeconds"] == 60
    assert authorizer["identitySource"] == "method.request.header.Authorization"
    assert "RestAuthorizerFunction.Alias" in str(authorizer["authorizerUri"]["Fn::Sub"])


class TestGatewayResponses:
    @pytest.fixture
    def responses(self, rest: Template) -> dict[str, dict[str, Any]]:
        """As API Gateway imports them, by type."""
        body = translate(rest)["Resources"]["RestApi"]["Properties"]["Body"]
        found: dict[str, dict[str, Any]] = body["x-amazon-apigateway-gateway-responses"]
        return found

    @pytest.fixture
    def problems(self, responses: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {
            name: json.loads(each["responseTemplates"]["application/json"])
            for name, each in responses.items()
        }

    def test_each_is_a_problem_that_says_its_own_status(
        self, responses: dict[str, dict[str, Any]], problems: dict[str, dict[str, Any]]
    ) -> None:
        for name, problem in problems.items():
            assert problem.keys() == {"type", "title", "status", "detail"}
            if name != "DEFAULT_5XX":
                assert str(problem["status"]) == responses[name]["statusCode"]
            content_type = responses[name]["responseParameters"][
                "gatewayresponse.header.Content-Type"
            ]
            assert content_type == "'application/problem+json'"

    def test_what_stands_for_several_server_errors_rewrites_none(
        self, responses: dict[str, dict[str, Any]]
    ) -> None:
        assert "statusCode" not in responses["DEFAULT_5XX"]

    def test_each_is_one_that_the_function_would_answer(
        self, problems: dict[str, dict[str, Any]]
    ) -> None:
        known = {
            PROBLEM_TYPE_PREFIX + error.code: (error.status, error.title)
            for error in vars(errors).values()
            if isinstance(error, type) and issubclass(error, ChatError) and error is not ChatError
        }
        described = (STACKS_ROOT.parent / "docs" / "problems.md").read_text()
        for name, problem in problems.items():
            code = problem["type"].removeprefix(PROBLEM_TYPE_PREFIX)
            assert f"| `{code}` |" in described, name
            if problem["type"] in known:
                assert known[problem["type"]] == (problem["status"], problem["title"])

    @pytest.mark.parametrize(
        ("response_type", "status"),
        [
            ("UNAUTHORIZED", 401),
            ("ACCESS_DENIED", 401),
            ("AUTHORIZER_FAILURE", 503),
            ("AUTHORIZER_CONFIGURATION_ERROR", 503),
            ("API_CONFIGURATION_ERROR", 503),
            ("MISSING_AUTHENTICATION_TOKEN", 404),
            ("INVALID_SIGNATURE", 404),
            ("RESOURCE_NOT_FOUND", 404),
            ("DEFAULT_4XX", 404),
            ("BAD_REQUEST_BODY", 400),
            ("BAD_REQUEST_PARAMETERS", 400),
            ("REQUEST_TOO_LARGE", 413),
            ("UNSUPPORTED_MEDIA_TYPE", 415),
            ("WAF_FILTERED", 403),
            ("THROTTLED", 429),
            ("QUOTA_EXCEEDED", 429),
            ("INTEGRATION_FAILURE", 504),
            ("INTEGRATION_TIMEOUT", 504),
            ("DEFAULT_5XX", 502),
        ],
    )
    def test_a_status_is_the_contracts(
        self, problems: dict[str, dict[str, Any]], response_type: str, status: int
    ) -> None:
        assert problems[response_type]["status"] == status

    def test_who_may_come_back_hears_when(self, responses: dict[str, dict[str, Any]]) -> None:
        for name, response in responses.items():
            says = "gatewayresponse.header.Retry-After" in response["responseParameters"]
            assert says == (response.get("statusCode") in {"429", "503"}), name

    def test_a_browser_may_read_them_only_where_browsers_may_call(
        self, responses: dict[str, dict[str, Any]]
    ) -> None:
        for response in responses.values():
            assert response["responseParameters"][
                "gatewayresponse.header.Access-Control-Allow-Origin"
            ] == {
                "Fn::If": [
                    "HasAllowedOrigins",
                    "method.request.header.Origin",
                    {"Ref": "AWS::NoValue"},
                ]
            }

    def test_none_tells_what_it_is_made_of(self, problems: dict[str, dict[str, Any]]) -> None:
        assert not re.search(r"\$|arn:|[Ll]ambda|[Aa]uthorizer", json.dumps(problems))

    def test_on_aws_they_come_with_the_body_alone(self, rest: Template) -> None:
        """An import of the body removes those that are resources of their own."""
        for each in rest.of_type("AWS::ApiGateway::GatewayResponse").values():
            assert each["Condition"] == "IsEmulated"
        for each in rest.of_type("AWS::ApiGateway::Deployment").values():
            assert each["Condition"] == "IsEmulated"

    def test_the_emulator_gets_the_same(
        self, rest: Template, responses: dict[str, dict[str, Any]]
    ) -> None:
        emulated = rest.of_type("AWS::ApiGateway::GatewayResponse")
        assert {
            properties["ResponseType"]: {
                "responseParameters": properties["ResponseParameters"],
                "responseTemplates": properties["ResponseTemplates"],
            }
            | ({"statusCode": properties["StatusCode"]} if "StatusCode" in properties else {})
            for properties in (each["Properties"] for each in emulated.values())
        } == responses
        (deployment,) = rest.of_type("AWS::ApiGateway::Deployment").values()
        assert set(deployment["DependsOn"]) == {*emulated, "RestApiStage"}
