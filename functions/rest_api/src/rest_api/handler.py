"""Lambda entry point of the REST API."""

from functools import cache
from typing import Any

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext

from commons.observability import log, metrics, tracer
from rest_api.app import RestApi
from rest_api.composition import build_services
from rest_api.settings import Settings


@cache
def rest_api() -> RestApi:
    settings = Settings()
    return RestApi(build_services(settings), allowed_origins=settings.origins)


@metrics.log_metrics
@log.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_REST)
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return rest_api().handle(event, context)
