"""The stream of connections to checks; checks that are due to presence frames."""

from functools import cache
from typing import TYPE_CHECKING

from commons.observability import log, metrics, tracer
from commons.schemas.lambda_events import BatchResponse, WorkerEvent, is_queue_event
from workers_presence.composition import Services, build_services
from workers_presence.settings import PresenceSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def services() -> Services:
    return build_services(PresenceSettings())


@metrics.log_metrics
@log.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: WorkerEvent, _context: "LambdaContext") -> BatchResponse:
    failures = (
        services().checks.take(event["Records"])
        if is_queue_event(event)
        else services().changes.take(event["Records"])
    )
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failures]}
