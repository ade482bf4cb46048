"""Lambda entry point of the web client."""

from functools import cache
from typing import Any

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext

from commons.observability import log, metrics, tracer
from rest_web.app import WebApp
from rest_web.services.web_client import WebClientService
from rest_web.settings import Settings


@cache
def web_app() -> WebApp:
    settings = Settings()
    return WebApp(WebClientService(settings=settings), settings)


@metrics.log_metrics
@log.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_REST)
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return web_app().handle(event, context)
