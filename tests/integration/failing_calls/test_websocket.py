"""Every frame, handshake and end of a connection with storage failing at each call in turn."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.doubles.acting_room import pending_call_id, pending_calls
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.integration.failing_calls.room import CHANNEL, FAILURES, Room, caller
from tests.integration.websocket.gateway import (
    Frame,
    connect_event,
    disconnect_event,
    message_event,
)

from commons import keys
from commons.dal import Table
from commons.dynamodb.exceptions import StorageUnavailableError
from commons.services import base
from commons.services.tickets import TicketsService
from commons.websocket.frame_handler import SocketResponse
from websocket_connect import handler as connect_handler
from websocket_disconnect import composition as disconnect_composition
from websocket_disconnect import handler as disconnect_handler
from websocket_sendmessage import handler as sendmessage_handler
from websocket_session import handler as session_handler
from websocket_session.composition import build_services
from websocket_session.settings import SessionSettings

MOST_CALLS = 40
"""More than any frame makes."""

TOLD_TO_COME_BACK = {429, 503}

CALL_ID = pending_call_id(CHANNEL, 2, "anyone")

SESSION = SessionSettings(
    websocket_callback_url="http://127.0.0.1:9",
    jwt_issuer="https://issuer.example/pool",
    jwt_audience="client-1",
    jwt_jwks_url="http://127.0.0.1:9/jwks.json",
)


@dataclass(frozen=True)
class Action:
    """A frame of bob's, what it is answered, and what has come of it once it was."""

    frame: Frame
    answer: str | None
    came_of_it: Callable[[Room], object] = lambda _room: True
    listens: bool = True

    def __str__(self) -> str:
        return "-".join(map(str, self.frame.values()))


def is_live(room: Room) -> bool:
    (bob,) = [row for row in room.connections.room(CHANNEL) if row.user_id == "bob"]
    return bob.state == "live"


def listens_no_more(room: Room) -> bool:
    return [row.user_id for row in room.connections.room(CHANNEL)] == ["alice"]


def has_read(room: Room) -> bool:
    return room.storage.get(Table.CHANNELS, keys.member_key(CHANNEL, "bob"))["read_seq"] == 1


def reply_is_cancelled(room: Room) -> bool:
    return room.generations.list_open(CHANNEL) == [] and len(room.event_types()) == 3


def is_renewed(room: Room) -> bool:
    return room.connections.require("bob-1").token_expires_at == RENEWED.expires_at


def is_said_once(room: Room) -> bool:
    return room.event_types() == ["message.created"] * 3


def is_decided_once(room: Room) -> bool:
    return room.event_types().count("tool.decided") == 1


RENEWED = caller("bob", seconds=7_200)

ACTIONS = [
    Action({"action": "sendmessage", "text": "x"}, "ack"),
    Action({"action": "sendmessage", "text": "x", "clientMessageId": "m"}, "ack", is_said_once),
    Action({"action": "sendmessage", "text": "x", "replyTo": 1}, "ack"),
    Action({"action": "subscribe"}, "ack", is_live),
    Action({"action": "subscribe"}, "ack", is_live, listens=False),
    Action({"action": "subscribe", "after": 0}, "ack", is_live),
    Action({"action": "subscribe", "after": 0}, "ack", is_live, listens=False),
    Action({"action": "unsubscribe"}, "ack", listens_no_more),
    Action({"action": "unsubscribe"}, "ack", listens_no_more, listens=False),
    Action({"action": "sync", "after": 0}, "sync"),
    Action({"action": "typing", "typing": True}, None),
    Action({"action": "read", "seq": 1}, "ack", has_read),
    Action({"action": "cancel"}, "ack", reply_is_cancelled),
    Action({"action": "cancel", "replyTo": 1}, "ack", reply_is_cancelled),
    Action({"action": "decide", "callId": CALL_ID, "decision": "approve"}, "ack", is_decided_once),
    Action({"action": "authenticate", "token": "fresh"}, "ack", is_renewed),
    Action({"action": "ping"}, "pong"),
    Action({"action": "ping", "heads": True}, "pong"),
]
WITHOUT_CHANNEL = {"authenticate", "ping"}


class Socket:
    """Bob's, served by the real handlers over storage that fails."""

    def __init__(self, room: Room, context: LambdaContext, patch: pytest.MonkeyPatch) -> None:
        self._room = room
        self._context = context
        self._posts: InMemoryBroadcaster = room.broadcaster
        services = build_services(
            SESSION,
            repository=room.failing,
            broadcaster=room.broadcaster,
            verify_token=lambda _token: RENEWED,
        )
        patch.setattr(session_handler, "services", lambda: services)
        patch.setattr(base, "default_repository", lambda: room.failing)
        forget_services()

    def send(self, fields: Frame) -> Frame | None:
        """The answer, however it comes: by the route itself, or posted."""
        action = fields["action"]
        frame = fields if action in WITHOUT_CHANNEL else {**fields, "channelId": CHANNEL}
        self._posts.frames["bob-1"].clear()
        handler = sendmessage_handler if action == "sendmessage" else session_handler
        response = handler.lambda_handler(
            message_event("bob-1", frame, route=action), self._context
        )
        body = response.get("body")
        if body is None and self._posts.frames["bob-1"]:
            body = self._posts.frames["bob-1"][-1].decode()
        answer: Frame | None = None if body is None else json.loads(body)
        return answer

    def connect(self, query: dict[str, str]) -> int:
        response: SocketResponse = connect_handler.lambda_handler(
            connect_event("bob-2", query=query), self._context
        )
        return response["statusCode"]

    def disconnect(self) -> int:
        """The gateway looks at no answer; what is raised rings the function's alarm."""
        try:
            response: SocketResponse = disconnect_handler.lambda_handler(
                disconnect_event("bob-1"), self._context
            )
        except StorageUnavailableError as error:
            return error.as_chat_error().status
        return response["statusCode"]


def forget_services() -> None:
    """What a warm function keeps."""
    sendmessage_handler.services.cache_clear()
    connect_handler.admission_service.cache_clear()
    disconnect_composition.forgetting_service.cache_clear()


type Open = Callable[[Room], Socket]


@pytest.fixture
def open_socket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    for name, value in {
        "WEBSOCKET_CALLBACK_URL": "http://127.0.0.1:9/test",
        "JWT_ISSUER": SESSION.jwt_issuer,
        "JWT_AUDIENCE": SESSION.jwt_audience,
        "JWT_JWKS_URL": SESSION.jwt_jwks_url,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    context = LambdaContext()
    context._function_name = "websocket"
    context._memory_limit_in_mb = 1024
    context._invoked_function_arn = "arn:aws:lambda:eu-west-1:1:function:websocket"
    context._aws_request_id = "request-1"
    yield lambda room: Socket(room, context, monkeypatch)
    forget_services()


def test_every_action_is_tried() -> None:
    tried = {str(action.frame["action"]) for action in ACTIONS}

    assert tried == {"sendmessage", *session_handler._ACTIONS}


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("action", ACTIONS, ids=str)
def test_whichever_call_fails_a_frame_is_told_so_and_its_repetition_mends_it(
    action: Action, kind: str, open_socket: Open
) -> None:
    for at_call in range(1, MOST_CALLS):
        room = Room()
        if not action.listens:
            bob = room.connections.require("bob-1")
            room.connections.unsubscribe(bob, CHANNEL)
        if action.frame["action"] == "decide":
            pending_calls(room.storage, CHANNEL, 2)
        socket = open_socket(room)
        room.fail(at_call, kind)

        answer = socket.send(action.frame)
        has_failed = room.failing.has_failed
        told = f"call {at_call} of {room.failing.calls}: {answer}"
        room.heal()
        again = socket.send(action.frame)

        if answer is not None and answer["type"] == "error":
            assert answer["error"]["status"] in TOLD_TO_COME_BACK, told
        else:
            assert (answer and answer["type"]) == action.answer, told
        assert (again and again["type"]) == action.answer, f"repeated after {told}: {again}"
        assert action.came_of_it(room), told
        room.check()
        if not has_failed:
            assert at_call > 1
            return
    raise AssertionError("a frame makes more calls than were tried")


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("crowded", [False, True], ids=["", "at the cap"])
def test_a_handshake_whose_call_fails_is_refused_and_leaves_nothing(
    kind: str, crowded: bool, open_socket: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    if crowded:
        monkeypatch.setattr("commons.services.connections.MAX_CONNECTIONS", 1)
        monkeypatch.setattr(
            "websocket_connect.gateway.ApiGatewayProbe.is_open", lambda _self, _id: False
        )
    for at_call in range(1, MOST_CALLS):
        room = Room()
        socket = open_socket(room)
        tickets = TicketsService(room.storage)

        def handshake(tickets: TicketsService = tickets) -> dict[str, str]:
            ticket = tickets.issue(caller("bob")).ticket
            return {"ticket": ticket, "channels": CHANNEL}

        room.fail(at_call, kind)
        status = socket.connect(handshake())
        has_failed = room.failing.has_failed
        told = f"call {at_call} of {room.failing.calls}: {status}"
        room.heal()

        assert status in {200, *TOLD_TO_COME_BACK}, told
        known = room.connections.find("bob-2")
        assert (known is not None) == (status == 200), told
        # A place that nobody fills is found by the next handshake at the cap, as a dead one is.
        if not crowded and not FAILURES[kind].lasting:
            room.check()
        assert socket.connect(handshake()) == 200, told
        room.check()
        if not has_failed:
            assert at_call > 1
            return
    raise AssertionError("a handshake makes more calls than were tried")


@pytest.mark.parametrize("kind", FAILURES)
def test_a_handshake_that_is_refused_leaves_nothing_that_the_next_one_trips_over(
    kind: str, open_socket: Open
) -> None:
    nobodys = "n" * 22
    for at_call in range(1, MOST_CALLS):
        room = Room()
        socket = open_socket(room)
        tickets = TicketsService(room.storage)
        room.fail(at_call, kind)

        status = socket.connect(
            {"ticket": tickets.issue(caller("bob")).ticket, "channels": f"{CHANNEL},{nobodys}"}
        )
        has_failed = room.failing.has_failed
        told = f"call {at_call} of {room.failing.calls}: {status}"
        room.heal()

        assert status in {403, *TOLD_TO_COME_BACK}, told
        assert room.connections.find("bob-2") is None, told
        assert socket.connect({"ticket": tickets.issue(caller("bob")).ticket}) == 200, told
        room.check()
        if not has_failed:
            assert at_call > 1
            return
    raise AssertionError("a handshake makes more calls than were tried")


@pytest.mark.parametrize("kind", FAILURES)
def test_whichever_call_fails_a_connection_that_has_ended_is_forgotten(
    kind: str, open_socket: Open
) -> None:
    for at_call in range(1, MOST_CALLS):
        room = Room()
        socket = open_socket(room)
        room.fail(at_call, kind)

        status = socket.disconnect()
        has_failed = room.failing.has_failed
        told = f"call {at_call} of {room.failing.calls}: {status}"
        room.heal()

        if has_failed and FAILURES[kind].lasting:
            assert status in TOLD_TO_COME_BACK
            room.connections.forget("bob-1")
        else:
            assert status == 200, told
        assert room.connections.find("bob-1") is None, told
        assert listens_no_more(room), told
        room.check()
        if not has_failed:
            assert at_call > 1
            return
    raise AssertionError("an end makes more calls than were tried")
