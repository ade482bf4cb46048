"""Who may do what over a WebSocket: every action on a channel, for everybody who may ask."""

from dataclasses import dataclass
from typing import Literal

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.doubles.acting_room import pending_call_id, pending_calls
from tests.doubles.yesterday import YesterdaysRepository
from tests.integration.websocket.conftest import Join, Open
from tests.integration.websocket.gateway import Frame, ManagementApi, frame_of, message_event

from commons import keys
from commons.dal import IRepository, Table, Update, UpdateWrite
from commons.schemas.caller import Caller
from commons.schemas.event import ChannelDeletedData, Sender
from commons.schemas.message import PostMessage
from commons.services import base
from commons.services.event_log import Draft, EventLogService
from commons.services.messages import MessagesService
from websocket_sendmessage import handler as sendmessage_handler
from websocket_session import handler as session_handler

type Who = Literal["owner", "member", "stranger", "former", "owner of a deleted channel"]

NOBODYS_CHANNEL = "n" * 22
MEMBERS: tuple[Who, ...] = ("owner", "member")
OTHERS: tuple[Who, ...] = ("stranger", "former", "owner of a deleted channel")


@dataclass(frozen=True)
class Action:
    frame: Frame
    answer: str

    def __str__(self) -> str:
        return "-".join(map(str, self.frame.values()))


ACTIONS = [
    Action({"action": "sendmessage", "text": "x"}, "ack"),
    Action({"action": "sendmessage", "text": "hello", "clientMessageId": "once"}, "ack"),
    Action({"action": "subscribe"}, "ack"),
    Action({"action": "subscribe", "after": 0}, "ack"),
    Action({"action": "sync", "after": 0}, "sync"),
    Action({"action": "typing", "typing": True}, "nothing"),
    Action({"action": "read", "seq": 1}, "ack"),
    Action({"action": "decide", "decision": "approve"}, "ack"),
    Action({"action": "cancel"}, "ack"),
    Action({"action": "cancel", "replyTo": 1}, "ack"),
]
NOT_OF_A_CHANNEL = {"authenticate", "ping"}
ALWAYS_ALLOWED = {"unsubscribe"}


@pytest.fixture(params=[*MEMBERS, *OTHERS])
def who(request: pytest.FixtureRequest) -> Who:
    chosen: Who = request.param
    return chosen


@pytest.fixture(autouse=True)
def storage(monkeypatch: pytest.MonkeyPatch) -> IRepository:
    """What is not read consistently is of the past: nobody keeps a right that way."""
    repository = YesterdaysRepository(seed=1)
    monkeypatch.setattr(base, "default_repository", lambda: repository)
    return repository


@pytest.fixture(autouse=True)
def asked(
    who: Who, storage: IRepository, join: Join, open_connection: Open, channel_id: str
) -> None:
    """A connection of who asks; who is no member any more is still subscribed."""
    join("somebody", channel_id)
    join("asker", channel_id)
    caller = Caller(user_id="asker", expires_at=2**31)
    MessagesService(storage).post(
        channel_id, caller, PostMessage(text="hello", client_message_id="once")
    )
    agent = Update(set={"agent": {"model_id": "m", "tools": ["notes.*"]}})
    storage.update(Table.CHANNELS, keys.channel_key(channel_id), agent)
    pending_calls(storage, channel_id, 1)
    open_connection("c1", "asker", channels=() if who == "stranger" else (channel_id,))
    if who == "owner":
        key = keys.member_key(channel_id, "asker")
        storage.update(Table.CHANNELS, key, Update(set={"role": "owner"}))
    elif who == "owner of a deleted channel":
        delete_without_clearing(storage, channel_id)
    elif who != "member":
        storage.delete(Table.CHANNELS, keys.member_key(channel_id, "asker"))


def delete_without_clearing(storage: IRepository, channel_id: str) -> None:
    """A channel's deletion as a crash leaves it."""
    deleted = UpdateWrite(
        Table.CHANNELS, keys.channel_key(channel_id), Update(set={"deleted": True})
    )
    EventLogService(storage).append(
        channel_id,
        lambda: Draft(
            sender=Sender(id="asker", kind="user"),
            data=ChannelDeletedData(),
            writes=lambda _seq: [deleted],
        ),
    )


def ask(frame: Frame, channel: str, context: LambdaContext, management_api: ManagementApi) -> Frame:
    """The answer, however it comes: by the route itself, or posted."""
    management_api.posted.clear()
    handler = sendmessage_handler if frame["action"] == "sendmessage" else session_handler
    frame = {**frame, "channelId": channel}
    if frame["action"] == "decide":
        frame["callId"] = pending_call_id(channel, 1, "anyone")
    response = handler.lambda_handler(message_event("c1", frame), context)
    if "body" in response:
        return frame_of(response)
    posted = management_api.frames("c1")
    return posted[-1] if posted else {"type": "nothing"}


def test_every_action_is_in_the_table() -> None:
    in_table = {str(action.frame["action"]) for action in ACTIONS}

    assert in_table | NOT_OF_A_CHANNEL | ALWAYS_ALLOWED == {
        "sendmessage",
        *session_handler._ACTIONS,
    }


@pytest.mark.parametrize("action", ACTIONS, ids=str)
def test_a_member_may_and_nobody_else_is_told_that_there_is_a_channel(
    who: Who,
    action: Action,
    channel_id: str,
    lambda_context: LambdaContext,
    management_api: ManagementApi,
) -> None:
    answer = ask(action.frame, channel_id, lambda_context, management_api)

    if who in MEMBERS:
        assert answer["type"] == action.answer
        return
    assert answer["type"] == "error"
    assert answer["error"]["status"] == 404
    assert answer == ask(action.frame, NOBODYS_CHANNEL, lambda_context, management_api)


def test_heads_are_those_of_the_channels_that_one_is_in(
    who: Who, channel_id: str, lambda_context: LambdaContext
) -> None:
    response = session_handler.lambda_handler(
        message_event("c1", {"action": "ping", "heads": True}), lambda_context
    )

    assert frame_of(response)["heads"] == ({channel_id: 4} if who in MEMBERS else {})


def test_unsubscribing_says_nothing_of_a_channel(
    who: Who, channel_id: str, lambda_context: LambdaContext, management_api: ManagementApi
) -> None:
    answer = ask({"action": "unsubscribe"}, channel_id, lambda_context, management_api)

    assert answer == {"type": "ack", "channelId": channel_id}, who
