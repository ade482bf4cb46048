"""Serves every action but `sendmessage`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final

from commons.clock import rfc3339
from commons.observability import log, metrics, tracer
from commons.realtime.broadcaster import Post
from commons.records.connection import Connection
from commons.schemas.server_frames import AckFrame, PongFrame, SyncFrame
from commons.services.channel_reader import Shown, own
from commons.websocket.frame_handler import (
    Act,
    Answer,
    NoSuchActionError,
    ReceivedFrame,
    SocketEvent,
    SocketResponse,
    serve_message,
)
from websocket_session.composition import Services, build_services
from websocket_session.schemas import (
    DEFAULT_EVENTS,
    Authenticate,
    Cancel,
    Decide,
    Ping,
    Read,
    Subscribe,
    Sync,
    Typing,
    Unsubscribe,
)
from websocket_session.settings import SessionSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def services() -> Services:
    return build_services(SessionSettings())


ONE_WAY_ROUTES: Final = frozenset({"subscribe", "typing"})
"""Routes without a response (docs/adr/0041): what they have to say is posted, like any frame.

A route with a response answers each of its frames, and these two often have nothing to say.
"""


@metrics.log_metrics
@log.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: SocketEvent, _context: "LambdaContext") -> SocketResponse:
    response = serve_message(
        event,
        serve_action,
        connection_of=services().connections.require,
        close=services().broadcaster.delete_connection,
    )
    context = event["requestContext"]
    if context["routeKey"] not in ONE_WAY_ROUTES:
        return response
    body = response.get("body")
    if body is not None:
        services().broadcaster.send([Post(context["connectionId"], (body.encode(),))])
    return {"statusCode": response["statusCode"]}


def serve_action(frame: ReceivedFrame, connection: Connection) -> Answer:
    action = _ACTIONS.get(frame.action or "")
    if action is None:
        raise NoSuchActionError
    return action(frame, connection)


def subscribe(frame: ReceivedFrame, connection: Connection) -> Shown[AckFrame] | None:
    request = frame.parse(Subscribe)
    return services().subscribing.subscribe(
        connection, request.channel_id, after=request.after, request_id=request.request_id
    )


def unsubscribe(frame: ReceivedFrame, connection: Connection) -> AckFrame:
    request = frame.parse(Unsubscribe)
    services().connections.unsubscribe(connection, request.channel_id)
    return AckFrame(request_id=request.request_id, channel_id=request.channel_id)


def sync(frame: ReceivedFrame, connection: Connection) -> Shown[SyncFrame]:
    request = frame.parse(Sync)
    page = services().catch_up.frame_page(
        request.channel_id,
        connection.user_id,
        after=request.after,
        limit=request.limit or DEFAULT_EVENTS,
    )
    return page.map(
        lambda page: SyncFrame(
            request_id=request.request_id,
            channel_id=request.channel_id,
            items=page.items,
            last_seq=page.last_seq,
            has_more=page.has_more,
        )
    )


def typing(frame: ReceivedFrame, connection: Connection) -> None:
    request = frame.parse(Typing)
    services().typing.set(connection, request.channel_id, typing=request.typing)


def read(frame: ReceivedFrame, connection: Connection) -> AckFrame:
    request = frame.parse(Read)
    services().read_marks.mark(request.channel_id, connection.as_caller(), request.seq)
    return AckFrame(request_id=request.request_id, channel_id=request.channel_id, seq=request.seq)


def cancel(frame: ReceivedFrame, connection: Connection) -> AckFrame:
    request = frame.parse(Cancel)
    services().generations.cancel(request.channel_id, connection.user_id, request.reply_to)
    return AckFrame(request_id=request.request_id, channel_id=request.channel_id)


def decide(frame: ReceivedFrame, connection: Connection) -> Shown[AckFrame]:
    request = frame.parse(Decide)
    shown = services().decisions.decide(
        request.channel_id,
        connection.as_caller(),
        request.call_id,
        request.decision,
        request.arguments_digest,
    )
    return shown.map(
        lambda event: AckFrame(
            request_id=request.request_id,
            channel_id=request.channel_id,
            seq=event.seq,
            event=event,
        )
    )


def authenticate(frame: ReceivedFrame, connection: Connection) -> AckFrame:
    request = frame.parse(Authenticate)
    caller = services().renewal.renew(connection, request.token)
    return AckFrame(
        request_id=request.request_id,
        expires_at=rfc3339(datetime.fromtimestamp(caller.expires_at, UTC)),
    )


def ping(frame: ReceivedFrame, connection: Connection) -> Shown[PongFrame]:
    request = frame.parse(Ping)
    if not request.heads:
        return own(PongFrame(request_id=request.request_id))
    heads = services().heads.of(connection)
    return heads.map(lambda heads: PongFrame(request_id=request.request_id, heads=heads))


_ACTIONS: Final[Mapping[str, Act]] = {
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "sync": sync,
    "typing": typing,
    "read": read,
    "cancel": cancel,
    "decide": decide,
    "authenticate": authenticate,
    "ping": ping,
}
