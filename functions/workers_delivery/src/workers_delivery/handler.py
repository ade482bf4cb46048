"""The stream of chat_events, to open connections."""

from functools import cache
from typing import TYPE_CHECKING

from commons.observability import log, metrics, tracer
from commons.queues import SqsQueue
from commons.realtime.broadcaster import Broadcaster
from commons.schemas.lambda_events import BatchResponse, WorkerEvent, is_queue_event
from workers_delivery.parking import SqsParking
from workers_delivery.services.batches import BatchService
from workers_delivery.services.delivery import PATIENCE_SECONDS, DeliveryService
from workers_delivery.settings import DeliverySettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def batch_service() -> BatchService:
    settings = DeliverySettings()
    broadcaster = Broadcaster(settings.websocket_callback_url, patience_seconds=PATIENCE_SECONDS)
    delivery = DeliveryService(broadcaster=broadcaster)
    return BatchService(delivery=delivery, parking=SqsParking(SqsQueue(settings.parking_queue_url)))


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
