"""Lambda entry point of the REST API's authorizer."""

from functools import cache
from typing import Any

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext

from commons.auth.bearer import bearer_token
from commons.auth.tokens import TokenVerifier
from commons.errors import UnauthenticatedError
from commons.observability import log, metrics, tracer
from rest_authorizer.schemas import AuthorizerRequest, allowing, refusing
from rest_authorizer.settings import Settings


@cache
def token_verifier() -> TokenVerifier:
    return TokenVerifier(Settings())


@metrics.log_metrics
@log.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_REST)
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Judges a token.

    Raises:
        IssuerUnreachableError: it cannot be judged. API Gateway answers 503, which nobody caches: a
            Deny would keep the caller out for a minute for what is not his fault.
    """
    request = AuthorizerRequest.model_validate(event)
    try:
        caller = token_verifier().verify(bearer_token(request.authorization))
    except UnauthenticatedError:
        log.info("refused")
        return refusing(request.method_arn)
    log.info("allowed")
    return allowing(caller, request.method_arn)
