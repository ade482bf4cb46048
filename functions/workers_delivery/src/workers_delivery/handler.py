"""The stream of chat_events, and what delivery queues for itself, to open connections."""

from typing import TYPE_CHECKING

from commons.observability import log, metrics, tracer
from commons.schemas.lambda_events import BatchResponse, WorkerEvent, is_queue_event
from workers_delivery.composition import batch_service

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@metrics.log_metrics
@log.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: WorkerEvent, _context: "LambdaContext") -> BatchResponse:
    service = batch_service()
    failures = (
        service.take_queue(event["Records"])
        if is_queue_event(event)
        else service.take_stream(event["Records"])
    )
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failures]}
