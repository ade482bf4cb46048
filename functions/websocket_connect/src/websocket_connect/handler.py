"""Answers a WebSocket handshake."""

from functools import cache
from typing import TYPE_CHECKING, Final

from commons.errors import (
    ChatError,
    ForbiddenError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnauthenticatedError,
    UnavailableError,
)
from commons.observability import count_unhandled, log, metrics, tracer
from commons.websocket.frame_handler import (
    SocketEvent,
    SocketResponse,
    failure_site,
    is_message,
    refuse_message,
)
from websocket_connect.composition import build_admission
from websocket_connect.schemas import Handshake
from websocket_connect.services.admission import AdmissionService
from websocket_connect.settings import ConnectSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

_OK: Final = 200
_STATUSES: Final = frozenset(
    {UnauthenticatedError.status, ForbiddenError.status, TooManyRequestsError.status}
)


@cache
def admission_service() -> AdmissionService:
    return build_admission(ConnectSettings())


@metrics.log_metrics
@log.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: SocketEvent, _context: "LambdaContext") -> SocketResponse:
    if is_message(event):
        return refuse_message(event)
    return {"statusCode": answer_handshake(event)}


def answer_handshake(event: SocketEvent) -> int:
    """The status: 200, 401, 403, 429 or 503."""
    handshake = read_handshake(event)
    details: dict[str, object] = {"connection_id": handshake.connection_id}
    log.set_correlation_id(event["requestContext"]["requestId"])
    try:
        connection = admission_service().admit(handshake)
    except ChatError as error:
        status = error.status if error.status in _STATUSES else ForbiddenError.status
        log.info("handshake refused", extra=details | {"status": status, "reason": error.code})
    except UnavailableError as error:
        status = error.as_chat_error().status
        log.warning("handshake refused", extra=details | {"status": status})
        if status == ServiceUnavailableError.status:
            count_unhandled()
    except Exception as error:  # noqa: BLE001 - what leaves here may be sent to the client
        status = 500
        failure = {"error": type(error).__name__, "site": failure_site(error)}
        log.error("handshake failed", extra=details | failure)
        count_unhandled()
    else:
        status = _OK
        log.info("handshake admitted", extra=details | {"user_id": connection.user_id})
    return status


def read_handshake(event: SocketEvent) -> Handshake:
    context = event["requestContext"]
    headers = event.get("headers") or {}
    return Handshake(
        connection_id=context["connectionId"],
        connected_at=context["connectedAt"],
        headers={name.lower(): value for name, value in headers.items()},
        query=event.get("queryStringParameters") or {},
    )
