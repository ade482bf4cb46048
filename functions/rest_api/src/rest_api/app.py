"""The API over its services: routing, CORS, problems, one log line a call."""

from typing import Any

from aws_lambda_powertools.event_handler import (
    APIGatewayRestResolver,
    CORSConfig,
)
from aws_lambda_powertools.event_handler.exceptions import NotFoundError as NoSuchRouteError
from aws_lambda_powertools.utilities.typing import LambdaContext

from commons.observability import log
from rest_api.composition import Services
from rest_api.requests import encoded_path
from rest_api.responses import problem_response
from rest_api.routes import channels, generations, members, messages, service, tools

PREFLIGHT_SECONDS = 600
"""How long a browser may remember a preflight's answer; Chromium takes 2 h at most."""


class RestApi:
    """Answers events of an API Gateway REST API, whatever they hold.

    Args:
        services: what the routes call.
        allowed_origins: of browsers that get CORS headers; empty: none does.
    """

    def __init__(self, services: Services, *, allowed_origins: list[str]) -> None:
        self._has_cors = bool(allowed_origins)
        self._app = APIGatewayRestResolver(cors=_cors(allowed_origins))
        self._app.exception_handler(Exception)(problem_response)
        self._app.exception_handler(NoSuchRouteError)(problem_response)
        for resource in (service, channels, generations, members, messages, tools):
            resource.add_routes(self._app, services)

    def handle(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """The answer, in the shape of a Lambda proxy integration."""
        answer = self._app.resolve({**event, "path": encoded_path(event["path"])}, context)
        if self._has_cors:
            answer["multiValueHeaders"]["Vary"] = ["Origin"]
        log.info(
            "served",
            method=event["httpMethod"],
            resource=event.get("resource"),
            status=answer["statusCode"],
        )
        return answer


def _cors(allowed_origins: list[str]) -> CORSConfig | None:
    if not allowed_origins:
        return None
    first, *others = allowed_origins
    return CORSConfig(
        allow_origin=first,
        extra_origins=others,
        allow_headers=["Idempotency-Key"],
        expose_headers=["Idempotent-Replayed", "Retry-After"],
        max_age=PREFLIGHT_SECONDS,
    )
