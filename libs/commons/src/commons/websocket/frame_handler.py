"""The edge of the WebSocket API: frames in, frames out, errors as frames."""

import base64
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NotRequired, TypedDict

from commons.errors import (
    ChatError,
    MalformedRequestError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from commons.json_text import parse_json
from commons.observability import count_unhandled, log
from commons.realtime.encoded_frames import MAX_FRAME_BYTES
from commons.records.connection import Connection
from commons.schemas.base import BaseSchema
from commons.schemas.client_frames import MAX_REQUEST_ID
from commons.schemas.problem import PROBLEM_TYPE_PREFIX, Problem, problem_of
from commons.schemas.server_frames import AckFrame, ErrorFrame
from commons.services.channel_reader import Shown
from commons.services.connections import ConnectionEndedError
from commons.wire import from_wire

MAX_CLIENT_FRAME_BYTES: Final = 32_768
"""API Gateway closes the connection above; not every gateway does."""

_OK: Final = 200
_LOGGED_ACTION: Final = 32
_INTERNAL: Final = Problem(
    type=PROBLEM_TYPE_PREFIX + "internal-error",
    title="Something went wrong on our side",
    status=500,
    detail="The frame was not served. It is safe to send it again with its clientMessageId.",
)


class RequestContext(TypedDict):
    """What API Gateway says about a frame; `connectedAt` is in epoch milliseconds."""

    connectionId: str
    connectedAt: int
    eventType: Literal["CONNECT", "MESSAGE", "DISCONNECT"]
    requestId: str
    routeKey: str


class SocketEvent(TypedDict):
    """API Gateway's event; headers and query come with the handshake only."""

    requestContext: RequestContext
    body: NotRequired[str | None]
    isBase64Encoded: NotRequired[bool]
    headers: NotRequired[dict[str, str] | None]
    queryStringParameters: NotRequired[dict[str, str] | None]


class SocketResponse(TypedDict):
    """`body` goes to the client as a frame."""

    statusCode: int
    body: NotRequired[str]


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """A client's frame, an object but not validated yet.

    Attributes:
        action: None where the frame names none.
        request_id: None where there is none that can be sent back.
    """

    connection_id: str
    action: str | None
    request_id: str | None
    fields: dict[str, object]

    def parse[Frame: BaseSchema](self, schema: type[Frame]) -> Frame:
        """The frame as its action's schema.

        Raises:
            InvalidRequestError: a field is wrong, or unknown.
            TooLargeError: a field passes its size limit.
        """
        return from_wire(schema, self.fields)


class NoSuchActionError(NotFoundError):
    def __init__(self) -> None:
        super().__init__("There is no such action.")


type Answer = AckFrame | Shown[BaseSchema] | None
"""An `ack`, what was judged to be fit for the caller, or no frame at all."""

type Act = Callable[[ReceivedFrame, Connection], Answer]


def is_message(event: SocketEvent) -> bool:
    """False for the gateway's own events: a client may name a route `$connect`, too."""
    return event["requestContext"]["eventType"] == "MESSAGE"


def refuse_message(event: SocketEvent) -> SocketResponse:
    """Answers a frame that reached a route of the gateway's own events."""
    frame = _unread(event)
    try:
        frame = _received(event)
        problem = problem_of(NoSuchActionError())
    except ChatError as error:
        problem = problem_of(error)
    _log_served(frame, problem.status)
    answer = ErrorFrame(request_id=frame.request_id, error=problem.to_wire())
    return {"statusCode": _OK, "body": answer.to_json()}


def serve_message(
    event: SocketEvent,
    act: Act,
    *,
    connection_of: Callable[[str], Connection],
    close: Callable[[str], object],
) -> SocketResponse:
    """Lets `act` serve a frame, and answers with what it returns, or with what went wrong.

    Args:
        event: of a frame.
        act: returns the answer, or None for none.
        connection_of: finds a connection by its id, or raises ConnectionEndedError: one that has
            ended is closed and sent nothing.
        close: ends a connection by its id.
    """
    log.set_correlation_id(event["requestContext"]["requestId"])
    frame = _unread(event)
    answer: BaseSchema | None
    try:
        connection = connection_of(frame.connection_id)
        frame = _received(event)
        acted = act(frame, connection)
        answer = acted.content if isinstance(acted, Shown) else acted
    except ConnectionEndedError as error:
        close(frame.connection_id)
        answer = None
        _log_served(frame, error.status)
    except Exception as error:  # noqa: BLE001 - what leaves here is sent to the client
        problem = _problem_of(error)
        answer = ErrorFrame(request_id=frame.request_id, error=problem.to_wire())
        _log_served(frame, problem.status, error=error)
    else:
        _log_served(frame, _OK)
    return {"statusCode": _OK} if answer is None else {"statusCode": _OK, "body": _encoded(answer)}


def _encoded(answer: BaseSchema) -> str:
    """The answer as a frame; what no frame can carry is said in an error frame instead."""
    text = answer.to_json()
    if len(text.encode()) <= MAX_FRAME_BYTES:
        return text
    log.error("answer fits no frame", frame=type(answer).__name__)
    count_unhandled()
    return ErrorFrame(error=_INTERNAL.to_wire()).to_json()


def failure_site(error: BaseException) -> str:
    """Where it was raised: an exception's text may hold what must not be logged."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _unread(event: SocketEvent) -> ReceivedFrame:
    return ReceivedFrame(event["requestContext"]["connectionId"], None, None, {})


def _received(event: SocketEvent) -> ReceivedFrame:
    fields = _object(event)
    action = fields.get("action")
    return ReceivedFrame(
        connection_id=event["requestContext"]["connectionId"],
        action=action if isinstance(action, str) else None,
        request_id=_echoed(fields.get("requestId")),
        fields=fields,
    )


def _object(event: SocketEvent) -> dict[str, object]:
    body = event.get("body") or ""
    try:
        encoded = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
        if len(encoded) > MAX_CLIENT_FRAME_BYTES:
            raise TooLargeError(
                f"A frame has {MAX_CLIENT_FRAME_BYTES} bytes at most: send longer texts by REST."
            )
        value = parse_json(encoded.decode())
    except ValueError:
        raise MalformedRequestError("The frame is no valid JSON.") from None
    if not isinstance(value, dict):
        raise MalformedRequestError("A frame is one JSON object.")
    return value


def _echoed(request_id: object) -> str | None:
    if not isinstance(request_id, str) or len(request_id) > MAX_REQUEST_ID:
        return None
    try:
        request_id.encode()
    except UnicodeEncodeError:
        return None
    return request_id


def _problem_of(error: Exception) -> Problem:
    match error:
        case ChatError():
            return problem_of(error)
        case UnavailableError():
            return problem_of(error.as_chat_error())
        case _:
            return _INTERNAL


def _log_served(frame: ReceivedFrame, status: int, *, error: Exception | None = None) -> None:
    details: dict[str, object] = {"connection_id": frame.connection_id, "status": status}
    if frame.action is not None:
        details["action"] = frame.action[:_LOGGED_ACTION]
    if error is not None and status >= _INTERNAL.status:
        details |= {"error": type(error).__name__, "site": failure_site(error)}
        log.error("frame failed", extra=details)
        count_unhandled()
    else:
        log.info("frame served", extra=details)
