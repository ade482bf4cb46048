"""Writes what API Gateway is told about the REST API into stacks/rest/template.yaml.

`poe describe` runs it after `python -m rest_api.description`: the routes and which of them need a
token come from that document, what API Gateway answers itself from the table below. Nobody edits
what stands between the marks in the template.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from commons.errors import (
    ChatError,
    MalformedRequestError,
    NotFoundError,
    TooLargeError,
    TooManyRequestsError,
    UnauthenticatedError,
    UnsupportedMediaTypeError,
)
from commons.schemas.problem import PROBLEM_TYPE_PREFIX

ROOT: Final = Path(__file__).parent.parent
DOCUMENT: Final = ROOT / "functions" / "rest_api" / "src" / "rest_api" / "openapi.json"
TEMPLATE: Final = ROOT / "stacks" / "rest" / "template.yaml"

PATHS_MARK: Final = "the API description's routes"
RESPONSES_MARK: Final = "what API Gateway answers itself"
EMULATED_MARK: Final = "the same answers for the emulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What API Gateway answers where no function is asked, as the function would answer it."""

    status: int
    code: str
    title: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)
    keeps_status: bool = False
    """For a type that stands for several statuses: each keeps its own."""

    def problem(self) -> str:
        problem = {
            "type": PROBLEM_TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        return json.dumps(problem, separators=(",", ":"))


def _error(error: type[ChatError], detail: str, *, headers: dict[str, str] | None = None) -> Answer:
    return Answer(
        status=error.status,
        code=error.code,
        title=error.title,
        detail=detail,
        headers=headers or {},
    )


_UNAUTHENTICATED: Final = _error(
    UnauthenticatedError,
    "Send a valid token: Authorization: Bearer \u2026",
    headers={"WWW-Authenticate": "Bearer"},
)
_NO_ROUTE: Final = _error(NotFoundError, "There is nothing at this path for this method.")
_UNREADABLE: Final = _error(MalformedRequestError, "The request cannot be read.")
_THROTTLED: Final = _error(
    TooManyRequestsError,
    "Too many requests at once; try again.",
    headers={"Retry-After": "1"},
)
_UNAVAILABLE: Final = Answer(
    status=503,
    code="unavailable",
    title="The service cannot be reached right now",
    detail="The request was not served. Try again.",
    headers={"Retry-After": "1"},
)
_SAFE_TO_REPEAT: Final = "It is safe to repeat the request with its clientMessageId."
_TIMED_OUT: Final = Answer(
    status=504,
    code="internal-error",
    title="Something went wrong on our side",
    detail=f"There was no answer in time. {_SAFE_TO_REPEAT}",
)

ANSWERS: Final[dict[str, Answer]] = {
    "UNAUTHORIZED": _UNAUTHENTICATED,
    # The authorizer's Deny: it knows no other reason than a token that is not valid.
    "ACCESS_DENIED": _UNAUTHENTICATED,
    "AUTHORIZER_FAILURE": _UNAVAILABLE,
    "AUTHORIZER_CONFIGURATION_ERROR": _UNAVAILABLE,
    "API_CONFIGURATION_ERROR": _UNAVAILABLE,
    # An unknown path or verb. With an Authorization header that is no AWS signature AWS calls it a
    # bad signature, under a type or under none: DEFAULT_4XX, which every other type here keeps
    # empty.
    "MISSING_AUTHENTICATION_TOKEN": _NO_ROUTE,
    "INVALID_SIGNATURE": _NO_ROUTE,
    "RESOURCE_NOT_FOUND": _NO_ROUTE,
    "DEFAULT_4XX": _NO_ROUTE,
    "BAD_REQUEST_BODY": _UNREADABLE,
    "BAD_REQUEST_PARAMETERS": _UNREADABLE,
    "REQUEST_TOO_LARGE": _error(TooLargeError, "The request is larger than 10 MB."),
    "UNSUPPORTED_MEDIA_TYPE": _error(
        UnsupportedMediaTypeError, "The body must be application/json."
    ),
    "WAF_FILTERED": Answer(
        status=403,
        code="blocked",
        title="The request was blocked",
        detail="A firewall rule of this service blocks the request.",
    ),
    "THROTTLED": _THROTTLED,
    "QUOTA_EXCEEDED": _THROTTLED,
    # The function timed out, or was not to be had.
    "INTEGRATION_FAILURE": _TIMED_OUT,
    "INTEGRATION_TIMEOUT": _TIMED_OUT,
    # What is left is a function that died: 502.
    "DEFAULT_5XX": Answer(
        status=502,
        code="internal-error",
        title="Something went wrong on our side",
        detail=f"The request may not have been served. {_SAFE_TO_REPEAT}",
        keeps_status=True,
    ),
}


def write(template: str, document: dict[str, Any]) -> str:
    """The template with its marked parts as the document and the answers have them."""
    for mark, lines in {
        PATHS_MARK: _paths(document),
        RESPONSES_MARK: _responses(),
        EMULATED_MARK: _emulated_responses(),
    }.items():
        template = _replace(template, mark, list(lines))
    return template


def _replace(template: str, mark: str, lines: list[str]) -> str:
    written: list[str] = []
    inside = False
    for line in template.splitlines():
        if line.strip() == f"# <- {mark}":
            inside = False
        if not inside:
            written.append(line)
        if line.strip() == f"# -> {mark}":
            inside = True
            indent = line[: len(line) - len(line.lstrip())]
            written += [indent + each for each in lines]
    if inside:
        raise ValueError(f"the template does not end: {mark}")
    return "\n".join(written) + "\n"


def _paths(document: dict[str, Any]) -> Iterator[str]:
    for path, verbs in document["paths"].items():
        yield f"{path}:"
        for verb, operation in verbs.items():
            yield f"  {verb}: {_operation(has_token=operation.get('security') != [])}"
        if path.startswith("/v1/"):
            # Browsers send preflights without a token; the function answers by ALLOWED_ORIGINS.
            yield f"  options: {_operation(has_token=False)}"


def _operation(*, has_token: bool) -> str:
    security = "security: [{Bearer: []}], " if has_token else ""
    uri = (
        "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/"
        "${Called}/invocations"
    )
    called = "{Called: !If [IsEmulated, !GetAtt RestApiFunction.Arn, !Ref RestApiFunction.Alias]}"
    integration = f'{{type: aws_proxy, httpMethod: POST, uri: !Sub ["{uri}", {called}]}}'
    return f"{{{security}responses: {{}}, x-amazon-apigateway-integration: {integration}}}"


def _responses() -> Iterator[str]:
    for response_type, answer in ANSWERS.items():
        yield f"{response_type}:"
        if not answer.keeps_status:
            yield f'  statusCode: "{answer.status}"'
        yield "  responseParameters:"
        yield from (f"    {line}" for line in _headers(answer))
        yield "  responseTemplates:"
        yield f"    application/json: '{answer.problem()}'"


def _emulated_responses() -> Iterator[str]:
    names = {each: f"{each.title().replace('_', '')}Response" for each in ANSWERS}
    for response_type, answer in ANSWERS.items():
        yield f"{names[response_type]}:"
        yield "  Type: AWS::ApiGateway::GatewayResponse"
        yield "  Condition: IsEmulated"
        yield "  Properties:"
        yield "    RestApiId: !Ref RestApi"
        yield f"    ResponseType: {response_type}"
        if not answer.keeps_status:
            yield f'    StatusCode: "{answer.status}"'
        yield "    ResponseParameters:"
        yield from (f"      {line}" for line in _headers(answer))
        yield "    ResponseTemplates:"
        yield f"      application/json: '{answer.problem()}'"
        yield ""
    yield "EmulatedDeployment:"
    yield "  Type: AWS::ApiGateway::Deployment"
    yield "  Condition: IsEmulated"
    yield f"  DependsOn: [{', '.join(['RestApiStage', *names.values()])}]"
    yield "  Properties:"
    yield "    RestApiId: !Ref RestApi"
    yield "    StageName: !Ref RestApi.Stage"
    yield "    Description: The stage with its gateway responses."


def _headers(answer: Answer) -> Iterator[str]:
    headers = {
        "Content-Type": "application/problem+json",
        "Cache-Control": "no-store",
        **answer.headers,
    }
    for name, value in headers.items():
        yield f"gatewayresponse.header.{name}: \"'{value}'\""
    yield (
        "gatewayresponse.header.Access-Control-Allow-Origin: "
        "!If [HasAllowedOrigins, method.request.header.Origin, !Ref AWS::NoValue]"
    )


def main() -> None:
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    TEMPLATE.write_text(write(TEMPLATE.read_text(encoding="utf-8"), document), encoding="utf-8")


if __name__ == "__main__":
    main()
