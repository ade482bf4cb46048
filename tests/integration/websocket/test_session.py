import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.websocket.conftest import Join, Open
from tests.integration.websocket.gateway import (
    Frame,
    ManagementApi,
    error_of,
    frame_of,
    message_event,
)

from commons import keys
from commons.auth.tokens import TokenVerifier
from commons.clock import epoch_milliseconds
from commons.dal import IRepository, Item, Table, Update
from commons.dynamodb.exceptions import (
    StorageBusyError,
    StorageUnavailableError,
    StorageUnreachableError,
)
from commons.errors import UnauthenticatedError
from commons.schemas.caller import Caller
from commons.schemas.message import PostMessage
from commons.services.connections import ConnectionsService
from commons.services.event_log import EventLogService
from commons.services.messages import MessagesService
from commons.websocket.frame_handler import SocketEvent, SocketResponse
from websocket_session import handler

type Send = Callable[..., SocketResponse]
type Post = Callable[..., None]

ALICE = Caller(user_id="alice", expires_at=2**40)


@pytest.fixture
def send(lambda_context: LambdaContext) -> Send:
    def _send(body: str | Frame, connection_id: str = "c1") -> SocketResponse:
        response: SocketResponse = handler.lambda_handler(
            message_event(connection_id, body), lambda_context
        )
        return response

    return _send


@pytest.fixture
def channel(join: Join, open_connection: Open, channel_id: str) -> str:
    """A channel of alice and bob; alice's connection is c1, bob's c2."""
    join("bob", channel_id)
    join("alice", channel_id)
    open_connection("c1")
    open_connection("c2", "bob")
    return channel_id


@pytest.fixture
def post(storage: IRepository, channel: str) -> Post:
    """Appends messages of alice's."""

    def _post(count: int, text: str = "x") -> None:
        messages = MessagesService(storage)
        for _ in range(count):
            messages.post(channel, ALICE, PostMessage(text=text))

    return _post


@pytest.fixture
def connections(storage: IRepository) -> ConnectionsService:
    return ConnectionsService(storage)


def seqs(frames: list[Frame]) -> list[int]:
    return [
        event["seq"] for frame in frames if frame["type"] == "events" for event in frame["events"]
    ]


class TestSubscribe:
    def test_it_is_acknowledged_and_live(
        self, send: Send, channel: str, connections: ConnectionsService
    ) -> None:
        answer = frame_of(send({"action": "subscribe", "channelId": channel, "requestId": "r1"}))

        assert answer == {
            "type": "ack",
            "requestId": "r1",
            "channelId": channel,
            "online": ["alice"],
        }
        assert [row.connection_id for row in connections.subscriptions(channel)] == ["c1"]

    def test_who_is_no_member_gets_a_404(
        self, send: Send, channel: str, open_connection: Open, connections: ConnectionsService
    ) -> None:
        open_connection("c3", "mallory")
        for extra in ({}, {"after": 0}):
            frame = {"action": "subscribe", "channelId": channel, **extra}
            assert error_of(send(frame, "c3"))["status"] == 404
        assert connections.subscriptions(channel, include_replaying=True) == []

    def test_with_after_the_past_comes_first_then_the_ack_all_of_it_posted(
        self,
        send: Send,
        channel: str,
        post: Post,
        management_api: ManagementApi,
        connections: ConnectionsService,
    ) -> None:
        post(5)

        response = send(
            {"action": "subscribe", "channelId": channel, "after": 2, "requestId": "r1"}
        )

        assert response == {"statusCode": 200}
        *events, ack = management_api.frames("c1")
        assert seqs(events) == [3, 4, 5]
        assert ack == {
            "type": "ack",
            "requestId": "r1",
            "channelId": channel,
            "through": 5,
            "hasMore": False,
            "online": ["alice"],
        }
        (row,) = connections.subscriptions(channel)
        assert (row.state, row.live_after) == ("live", None)

    @pytest.mark.parametrize("after", [0, 9])
    def test_with_nothing_to_replay_there_is_only_the_ack(
        self, send: Send, channel: str, management_api: ManagementApi, after: int
    ) -> None:
        send({"action": "subscribe", "channelId": channel, "after": after})
        (ack,) = management_api.frames("c1")
        assert (ack["through"], ack["hasMore"]) == (0, False)

    def test_who_does_not_take_the_frames_is_not_subscribed(
        self,
        send: Send,
        channel: str,
        post: Post,
        management_api: ManagementApi,
        connections: ConnectionsService,
    ) -> None:
        post(1)
        management_api.refusing = 403
        frame = {"action": "subscribe", "channelId": channel, "after": 0, "requestId": "r1"}

        assert error_of(send(frame))["status"] == 429

        assert connections.subscriptions(channel, include_replaying=True) == []
        assert connections.require("c1").channels == frozenset()

    def test_who_is_gone_is_forgotten(
        self,
        send: Send,
        channel: str,
        post: Post,
        management_api: ManagementApi,
        connections: ConnectionsService,
    ) -> None:
        post(1)
        management_api.gone = {"c1"}

        assert send({"action": "subscribe", "channelId": channel, "after": 0}) == {
            "statusCode": 200
        }

        assert connections.find("c1") is None
        assert connections.subscriptions(channel, include_replaying=True) == []

    def test_unsubscribing_ends_it(
        self, send: Send, channel: str, connections: ConnectionsService
    ) -> None:
        send({"action": "subscribe", "channelId": channel})
        answer = frame_of(send({"action": "unsubscribe", "channelId": channel, "requestId": "u"}))
        assert answer == {"type": "ack", "requestId": "u", "channelId": channel}
        assert connections.subscriptions(channel) == []


class TestSync:
    def test_it_answers_with_the_log(self, send: Send, channel: str, post: Post) -> None:
        post(5)
        frame = {"action": "sync", "channelId": channel, "after": 1, "limit": 3, "requestId": "r"}

        answer = frame_of(send(frame))

        assert (answer["type"], answer["requestId"], answer["channelId"]) == ("sync", "r", channel)
        assert [event["seq"] for event in answer["items"]] == [2, 3, 4]
        assert (answer["lastSeq"], answer["hasMore"]) == (5, True)
        rest = frame_of(send(frame | {"after": 4}))
        assert [event["seq"] for event in rest["items"]] == [5]
        assert rest["hasMore"] is False

    def test_an_answer_is_unescaped_and_has_at_most_128_kb(
        self, send: Send, channel: str, post: Post
    ) -> None:
        post(5, "é" * 16_000)
        seen: list[int] = []
        has_more = True
        while has_more:
            after = seen[-1] if seen else 0
            response = send({"action": "sync", "channelId": channel, "after": after})
            assert len(response["body"].encode()) <= 131_072
            assert "\\u00e9" not in response["body"]
            answer = frame_of(response)
            seen += [event["seq"] for event in answer["items"]]
            has_more = answer["hasMore"]
        assert seen == [1, 2, 3, 4, 5]

    def test_who_is_no_member_gets_a_404(
        self, send: Send, channel: str, open_connection: Open
    ) -> None:
        open_connection("c3", "mallory")
        frame = {"action": "sync", "channelId": channel, "after": 0}
        assert error_of(send(frame, "c3"))["status"] == 404

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"limit": 0}, "limit"),
            ({"limit": 101}, "limit"),
            ({"after": -1}, "after"),
            ({"after": "1"}, "after"),
            ({"after": 1.5}, "after"),
            ({"after": True}, "after"),
            ({"after": None}, "after"),
            ({"more": 1}, "more"),
            ({"requestId": "x" * 65}, "requestId"),
        ],
    )
    def test_a_wrong_field_is_named(
        self, send: Send, channel: str, change: Frame, field: str
    ) -> None:
        problem = error_of(send({"action": "sync", "channelId": channel, "after": 0} | change))
        assert problem["status"] == 422
        assert [each["field"] for each in problem["errors"]] == [field]


class TestTyping:
    @pytest.fixture(autouse=True)
    def _everybody_listens(self, send: Send, channel: str) -> None:
        for connection_id in ("c1", "c2"):
            send({"action": "subscribe", "channelId": channel}, connection_id)

    def typing(self, channel: str, *, typing: bool) -> Frame:
        return {"action": "typing", "channelId": channel, "typing": typing}

    def test_the_others_are_told_and_nobody_answered(
        self, send: Send, channel: str, management_api: ManagementApi
    ) -> None:
        assert send(self.typing(channel, typing=True)) == {"statusCode": 200}
        assert management_api.frames("c2") == [
            {"type": "typing", "channelId": channel, "userId": "alice", "typing": True}
        ]
        assert management_api.frames("c1") == []

    def test_within_2_seconds_nothing_more_is_told_and_the_latest_state_is_kept_for_later(
        self, send: Send, channel: str, management_api: ManagementApi, storage: IRepository
    ) -> None:
        for typing in (True, True, False, True, False, False):
            send(self.typing(channel, typing=typing))

        assert [frame["typing"] for frame in management_api.frames("c2")] == [True]
        assert storage.get(Table.CONNECTIONS, keys.typing_key(channel, "alice"))["wanted"] is False

    def test_the_same_by_another_connection_of_the_user_is_not_told(
        self, send: Send, channel: str, open_connection: Open, management_api: ManagementApi
    ) -> None:
        open_connection("c1b", "alice")
        send(self.typing(channel, typing=True))
        send(self.typing(channel, typing=True), "c1b")
        assert len(management_api.frames("c2")) == 1

    def test_after_2_seconds_the_same_is_told_again(
        self,
        send: Send,
        channel: str,
        management_api: ManagementApi,
        storage: IRepository,
    ) -> None:
        send(self.typing(channel, typing=True))
        past = int(time.time() * 1000) - 2_000
        storage.update(
            Table.CONNECTIONS, keys.typing_key(channel, "alice"), Update(set={"at": past})
        )
        send(self.typing(channel, typing=True))
        assert len(management_api.frames("c2")) == 2

    def test_who_types_in_many_channels_is_told_10_times_a_second_at_most(
        self, send: Send, join: Join, management_api: ManagementApi
    ) -> None:
        channels = [f"channel-{number:014d}" for number in range(40)]
        for each in channels:
            join("alice", each)
            join("bob", each)
            send({"action": "subscribe", "channelId": each}, "c2")
        management_api.posted.clear()
        started = time.monotonic()

        for each in channels:
            assert send(self.typing(each, typing=True)) == {"statusCode": 200}

        told = len(management_api.frames("c2"))
        assert 10 <= told <= 10 + 10 * (time.monotonic() - started)

    def test_what_was_not_told_for_the_rate_is_kept_for_later(
        self, send: Send, channel: str, management_api: ManagementApi, storage: IRepository
    ) -> None:
        empty = {"full_at": epoch_milliseconds() + 60_000}
        storage.update(Table.CHANNELS, keys.rate_key("alice", "typing"), Update(set=empty))

        send(self.typing(channel, typing=True))

        assert management_api.posted == {}
        assert storage.get(Table.CONNECTIONS, keys.typing_key(channel, "alice"))["wanted"] is True

    def test_a_repeated_keystroke_takes_nothing_from_the_users_bucket(
        self, send: Send, channel: str, management_api: ManagementApi, storage: IRepository
    ) -> None:
        send(self.typing(channel, typing=True))
        before = storage.get(Table.CHANNELS, keys.rate_key("alice", "typing"))
        for _ in range(5):
            send(self.typing(channel, typing=True))
        assert storage.get(Table.CHANNELS, keys.rate_key("alice", "typing")) == before
        assert len(management_api.frames("c2")) == 1

    def test_who_is_no_member_gets_a_404(
        self, send: Send, channel: str, open_connection: Open, management_api: ManagementApi
    ) -> None:
        open_connection("c3", "mallory")
        assert error_of(send(self.typing(channel, typing=True), "c3"))["status"] == 404
        assert management_api.posted == {}

    def test_typing_is_a_boolean(self, send: Send, channel: str) -> None:
        frame = {"action": "typing", "channelId": channel, "typing": "yes"}
        assert error_of(send(frame))["status"] == 422


class TestReadAndCancel:
    def test_a_read_mark_is_acknowledged_and_told_to_the_others(
        self, send: Send, channel: str, post: Post, management_api: ManagementApi
    ) -> None:
        post(3)
        send({"action": "subscribe", "channelId": channel}, "c2")

        answer = frame_of(
            send({"action": "read", "channelId": channel, "seq": 2, "requestId": "r"})
        )

        assert (answer["type"], answer["requestId"]) == ("ack", "r")
        assert management_api.frames("c2") == [
            {"type": "read", "channelId": channel, "userId": "alice", "seq": 2}
        ]

    def test_read_marks_past_10_a_second_are_refused_and_those_that_move_nothing_are_not(
        self, send: Send, channel: str, post: Post, storage: IRepository
    ) -> None:
        post(2)
        read = {"action": "read", "channelId": channel}
        send(read | {"seq": 1})
        empty = Update(set={"full_at": epoch_milliseconds() + 60_000})
        storage.update(Table.CHANNELS, keys.rate_key("alice", "read"), empty)
        handler.services.cache_clear()
        answer = send(read | {"seq": 2, "requestId": "r"})
        assert error_of(answer)["status"] == 429
        assert frame_of(answer)["requestId"] == "r"
        assert frame_of(send(read | {"seq": 1}))["type"] == "ack"
        row = storage.get(Table.CHANNELS, keys.member_key(channel, "alice"))
        assert row["read_seq"] == 1

    def test_a_read_mark_past_the_end_is_a_422(self, send: Send, channel: str) -> None:
        assert error_of(send({"action": "read", "channelId": channel, "seq": 1}))["status"] == 422

    def test_a_cancel_is_acknowledged(
        self, send: Send, channel: str, post: Post, storage: IRepository
    ) -> None:
        post(1)
        frame = {"action": "cancel", "channelId": channel, "requestId": "r"}
        assert frame_of(send(frame)) == {"type": "ack", "requestId": "r", "channelId": channel}
        assert frame_of(send(frame | {"replyTo": 1}))["type"] == "ack"
        assert storage.find(Table.CHANNELS, keys.cancel_key(channel)) is not None


@pytest.mark.usefixtures("channel")
class TestPing:
    def test_it_is_answered(self, send: Send) -> None:
        assert frame_of(send({"action": "ping", "requestId": "r"})) == {
            "type": "pong",
            "requestId": "r",
        }
        assert frame_of(send({"action": "ping"})) == {"type": "pong"}

    def test_with_heads_it_says_how_far_the_connections_channels_reach(
        self, send: Send, channel: str, post: Post
    ) -> None:
        post(3)
        assert frame_of(send({"action": "ping", "heads": True}))["heads"] == {}
        send({"action": "subscribe", "channelId": channel})
        assert frame_of(send({"action": "ping", "heads": True}))["heads"] == {channel: 3}
        assert "heads" not in frame_of(send({"action": "ping", "heads": False}))


@pytest.mark.usefixtures("channel")
class TestAuthenticate:
    @pytest.fixture
    def believe(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Caller], None]:
        """Makes the token "good" the caller's."""

        def _believe(caller: Caller) -> None:
            def verify(token: str) -> Caller:
                if token != "good":
                    raise UnauthenticatedError("The token is not valid here.")
                return caller

            monkeypatch.setattr(TokenVerifier, "verify", lambda _, token: verify(token))

        return _believe

    def test_the_connection_and_its_subscriptions_live_as_long_as_the_new_token(
        self,
        send: Send,
        channel: str,
        believe: Callable[[Caller], None],
        connections: ConnectionsService,
        stored: Callable[[str], list[Item]],
    ) -> None:
        expires_at = int(time.time()) + 5_000
        believe(Caller(user_id="alice", name="Alice II", expires_at=expires_at))
        send({"action": "subscribe", "channelId": channel})

        answer = frame_of(send({"action": "authenticate", "token": "good", "requestId": "r"}))

        assert (answer["type"], answer["requestId"]) == ("ack", "r")
        assert answer["expiresAt"].endswith(".000Z")
        connection = connections.require("c1")
        assert (connection.name, connection.token_expires_at) == ("Alice II", expires_at)
        (row,) = connections.subscriptions(channel)
        assert row.expires_at == connection.expires_at == expires_at
        assert [each["expires_at"] for each in stored("user#alice")] == [expires_at]

    @pytest.mark.parametrize(
        ("user_id", "seconds", "token"),
        [("alice", 600, "bad"), ("bob", 600, "good"), ("alice", -5, "good")],
    )
    def test_a_bad_token_another_users_or_an_expired_one_changes_nothing(  # noqa: PLR0917
        self,
        send: Send,
        believe: Callable[[Caller], None],
        connections: ConnectionsService,
        user_id: str,
        seconds: int,
        token: str,
    ) -> None:
        before = connections.require("c1")
        believe(Caller(user_id=user_id, expires_at=int(time.time()) + seconds))

        problem = error_of(send({"action": "authenticate", "token": token}))

        assert problem["status"] == 401
        assert connections.require("c1") == before

    def test_the_token_is_not_logged(self, send: Send, caplog: pytest.LogCaptureFixture) -> None:
        send({"action": "authenticate", "token": "a.secret.token"})
        assert "a.secret.token" not in str([vars(record) for record in caplog.records])


@pytest.mark.usefixtures("channel")
class TestFrames:
    @pytest.mark.parametrize(
        "body",
        ["", "x", "[]", '"x"', "1", "null", "{", '{"action": NaN}', "[" * 20_000, "\ud800"],
    )
    def test_what_is_no_json_object_is_a_400(self, send: Send, body: str) -> None:
        assert error_of(send(body))["status"] == 400

    @pytest.mark.parametrize(
        "frame",
        [{"action": "fly"}, {"action": 5}, {"action": None}, {}, {"action": "$disconnect"}],
    )
    def test_an_unknown_action_is_a_404_and_the_connection_stays(
        self, send: Send, frame: Frame, connections: ConnectionsService
    ) -> None:
        response = send(frame | {"requestId": "r1"})
        assert error_of(response)["status"] == 404
        assert frame_of(response)["requestId"] == "r1"
        assert connections.find("c1") is not None

    @pytest.mark.parametrize("request_id", [5, "x" * 65, {"a": 1}, None])
    def test_a_request_id_that_is_none_is_not_sent_back(self, send: Send, request_id: Any) -> None:
        response = send({"action": "fly", "requestId": request_id})
        assert "requestId" not in frame_of(response)

    def test_a_request_id_of_64_characters_is_sent_back(self, send: Send) -> None:
        answer = frame_of(send({"action": "ping", "requestId": "é" * 64}))
        assert answer["requestId"] == "é" * 64

    def test_null_means_absent(self, send: Send) -> None:
        frame = {"action": "ping", "requestId": None, "heads": None}
        assert frame_of(send(frame)) == {"type": "pong"}

    def test_a_binary_frame_is_read_as_text(self, lambda_context: LambdaContext) -> None:
        event: SocketEvent = message_event("c1", json.dumps({"action": "ping"}))
        event["body"] = base64.b64encode((event["body"] or "").encode()).decode()
        event["isBase64Encoded"] = True
        assert frame_of(handler.lambda_handler(event, lambda_context)) == {"type": "pong"}

    def test_a_frame_above_32_kb_is_a_413(self, send: Send) -> None:
        assert error_of(send(json.dumps({"action": "ping"}) + " " * 32_768))["status"] == 413

    @pytest.mark.parametrize(
        ("kind", "status"), [(StorageBusyError, 429), (StorageUnreachableError, 503)]
    )
    def test_storage_that_did_not_serve_is_an_error_frame(
        self,
        send: Send,
        channel: str,
        monkeypatch: pytest.MonkeyPatch,
        kind: type[StorageUnavailableError],
        status: int,
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise kind

        monkeypatch.setattr(EventLogService, "read", fail)
        frame = send({"action": "sync", "channelId": channel, "after": 0, "requestId": "r"})
        assert error_of(frame)["status"] == status

    def test_an_expired_connection_is_closed_and_sent_nothing(
        self,
        send: Send,
        management_api: ManagementApi,
        storage: IRepository,
    ) -> None:
        storage.update(
            Table.CONNECTIONS,
            keys.connection_key("c1"),
            Update(set={"expires_at": int(time.time())}),
        )
        for frame in ({"action": "ping"}, {"action": "authenticate", "token": "x"}, "no JSON"):
            assert send(frame) == {"statusCode": 200}
        assert management_api.closed == ["c1"] * 3
        assert management_api.posted == {}
