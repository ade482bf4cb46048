"""The stream of connections and the departures of 5 s ago, to presence frames."""

from functools import cache
from typing import TYPE_CHECKING

from commons.observability import log, metrics, tracer
from commons.queues import SqsQueue
from commons.realtime.broadcaster import Broadcaster
from commons.schemas.lambda_events import BatchResponse, WorkerEvent, is_queue_event
from workers_presence.departures import SqsDepartures
from workers_presence.services.batches import BatchService
from workers_presence.services.presence import PresenceService
from workers_presence.settings import PresenceSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def batch_service() -> BatchService:
    settings = PresenceSettings()
    presence = PresenceService(
        broadcaster=Broadcaster(settings.websocket_callback_url),
        departures=SqsDepartures(SqsQueue(settings.departures_queue_url)),
    )
    return BatchService(presence=presence)


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
