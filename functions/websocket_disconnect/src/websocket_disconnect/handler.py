"""Forgets a WebSocket connection that was closed."""

from typing import TYPE_CHECKING

from commons.observability import log, metrics, tracer
from commons.websocket.frame_handler import SocketEvent, SocketResponse, is_message, refuse_message
from websocket_disconnect.composition import forgetting_service

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@metrics.log_metrics
@log.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: SocketEvent, _context: "LambdaContext") -> SocketResponse:
    if is_message(event):
        return refuse_message(event)
    context = event["requestContext"]
    log.set_correlation_id(context["requestId"])
    forgetting_service().forget(context["connectionId"])
    log.info("connection forgotten", extra={"connection_id": context["connectionId"]})
    return {"statusCode": 200}
