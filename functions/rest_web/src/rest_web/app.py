"""The web client's routes: the page at `/`, its files below `/assets`."""

from collections.abc import Mapping
from typing import Any, Final

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError as NoSuchRouteError
from aws_lambda_powertools.utilities.typing import LambdaContext

from commons.errors import NotFoundError
from commons.observability import log
from commons.schemas.problem import problem_of
from rest_web.services.web_client import WebClientService
from rest_web.settings import Settings

_ALWAYS: Final[Mapping[str, str | list[str]]] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",
}
_PAGE: Final[Mapping[str, str | list[str]]] = {
    **_ALWAYS,
    # Asked again each time, so that a deployment is seen by the next visit.
    "Cache-Control": "no-cache",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_ASSET: Final[Mapping[str, str | list[str]]] = {
    **_ALWAYS,
    "Cache-Control": "public, max-age=31536000, immutable",
}


class WebApp:
    """Answers events of an API Gateway REST API about the web client."""

    def __init__(self, web_client: WebClientService, settings: Settings) -> None:
        self._app = APIGatewayRestResolver()
        self._web_client = web_client
        self._settings = settings
        self._app.exception_handler(NotFoundError)(_not_found)
        self._app.exception_handler(NoSuchRouteError)(_not_found)
        self._app.get("/")(self._page)
        self._app.get("/assets/<version>/<file>")(self._asset)

    def handle(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """The answer, in the shape of a Lambda proxy integration."""
        answer = self._app.resolve(event, context)
        log.info("served", resource=event.get("resource"), status=answer["statusCode"])
        return answer

    def _page(self) -> Response[str]:
        context = self._app.current_event.request_context
        base_path = self._settings.base_path(
            path=context.path, api_id=context.api_id, stage=context.stage
        )
        document = self._web_client.document(base_path)
        headers = {**_PAGE, "Content-Security-Policy": document.policy}
        return Response(200, "text/html; charset=utf-8", document.html, headers)

    def _asset(self, version: str, file: str) -> Response[str]:
        asset = self._web_client.asset(version, file)
        return Response(200, asset.media_type, asset.text, dict(_ASSET))


def _not_found(error: Exception) -> Response[str]:
    known = error if isinstance(error, NotFoundError) else NotFoundError("There is no such page.")
    problem = problem_of(known)
    headers = {**_ALWAYS, "Cache-Control": "no-store"}
    return Response(problem.status, "application/problem+json", problem.to_json(), headers)
