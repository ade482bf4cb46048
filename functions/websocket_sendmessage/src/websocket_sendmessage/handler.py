"""Serves the action `sendmessage`."""

from functools import cache
from typing import TYPE_CHECKING

from commons.observability import log, metrics, tracer
from commons.records.connection import Connection
from commons.schemas.server_frames import AckFrame
from commons.websocket.frame_handler import (
    ReceivedFrame,
    SocketEvent,
    SocketResponse,
    serve_message,
)
from websocket_sendmessage.composition import Services, build_services
from websocket_sendmessage.schemas import SendMessage
from websocket_sendmessage.settings import SendmessageSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def services() -> Services:
    return build_services(SendmessageSettings())


@metrics.log_metrics
@log.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: SocketEvent, _context: "LambdaContext") -> SocketResponse:
    return serve_message(
        event,
        send_message,
        connection_of=services().connections.require,
        close=services().close,
    )


def send_message(frame: ReceivedFrame, connection: Connection) -> AckFrame:
    message = frame.parse(SendMessage)
    posted = services().sending.send(connection, message.channel_id, message)
    return AckFrame(
        request_id=message.request_id,
        channel_id=message.channel_id,
        seq=posted.event.seq,
        duplicate=posted.duplicate,
    )
