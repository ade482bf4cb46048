"""The API behind a stand-in for API Gateway, as a WSGI application: for tools that speak HTTP."""

from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.rest_api.client import proxy_event

from rest_api.app import RestApi

OPEN_PATHS = ("/v1/health", "/openapi.json", "/asyncapi.json", "/swagger")
UNAUTHORIZED = (
    b'{"type":"urn:problem-type:chat:unauthenticated","title":"A valid token is needed",'
    b'"status":401,"detail":"Send a valid token."}'
)


def application(api: RestApi, *, token: str) -> Callable[..., Iterable[bytes]]:
    """Lets in who sends the token, as alice; otherwise answers 401 as the gateway does."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["RAW_URI" if "RAW_URI" in environ else "PATH_INFO"]
        path = path.partition("?")[0].encode("latin-1").decode("utf-8", "replace")
        is_open = path in OPEN_PATHS or environ["REQUEST_METHOD"] == "OPTIONS"
        if not is_open and environ.get("HTTP_AUTHORIZATION") != f"Bearer {token}":
            start_response("401 Unauthorized", [("Content-Type", "application/problem+json")])
            return [UNAUTHORIZED]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length).decode("utf-8", "replace") if length else None
        event = proxy_event(
            environ["REQUEST_METHOD"],
            f"{path}?{environ.get('QUERY_STRING', '')}",
            user=None if is_open else "alice",
            body=body,
            headers=_headers(environ),
        )
        result = api.handle(event, LambdaContext())
        headers = [
            (name, value)
            for name, values in result["multiValueHeaders"].items()
            for value in values
        ]
        start_response(f"{result['statusCode']} Status", headers)
        return [(result["body"] or "").encode()]

    return answer


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    headers: dict[str, Any] = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    return headers
