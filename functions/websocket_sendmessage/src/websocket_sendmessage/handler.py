"""Serves the action `sendmessage`."""

from functools import cache
from typing import TYPE_CHECKING

from commons.observability import log, metrics, tracer
from commons.records.connection import Connection
from commons.schemas.server_frames import AckFrame
from commons.services.connections import ConnectionsService
from commons.websocket.frame_handler import (
    ReceivedFrame,
    SocketEvent,
    SocketResponse,
    serve_message,
)
from websocket_sendmessage.schemas import SendMessage
from websocket_sendmessage.services.sending import SendingService
from websocket_sendmessage.settings import SendmessageSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from commons.realtime.broadcaster import Broadcaster


@cache
def settings() -> SendmessageSettings:
    return SendmessageSettings()


@cache
def connections_service() -> ConnectionsService:
    return ConnectionsService()


@cache
def sending_service() -> SendingService:
    return SendingService(post_rate=settings().post_rate)


@cache
def broadcaster() -> "Broadcaster":
    # Only to close a connection that has ended: its module costs as much as all the rest.
    from commons.realtime.broadcaster import Broadcaster  # noqa: PLC0415

    return Broadcaster(settings().websocket_callback_url, max_in_flight=1)


def close(connection_id: str) -> None:
    broadcaster().delete_connection(connection_id)


@metrics.log_metrics
@log.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: SocketEvent, _context: "LambdaContext") -> SocketResponse:
    return serve_message(
        event, send_message, connection_of=connections_service().require, close=close
    )


def send_message(frame: ReceivedFrame, connection: Connection) -> AckFrame:
    message = frame.parse(SendMessage)
    posted = sending_service().send(connection, message.channel_id, message)
    return AckFrame(
        request_id=message.request_id,
        channel_id=message.channel_id,
        seq=posted.event.seq,
        duplicate=posted.duplicate,
    )
