"""A member who is removed between any two reads of a frame gets nothing that came after."""

from collections.abc import Callable

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.websocket.conftest import Join, Open
from tests.integration.websocket.gateway import Frame, ManagementApi, frame_of, message_event

from commons import keys
from commons.dal import IRepository, Table
from commons.schemas.caller import Caller
from commons.schemas.message import PostMessage
from commons.services.connections import ConnectionsService
from commons.services.messages import MessagesService
from websocket_session import handler

SECRET = "said after bob was removed"
SECRET_SEQ = 2
NEWCOMER = "zoe"
READS = ("query", "find", "batch_get")
MOST_READS = 8
"""More than any of the frames makes."""

FRAMES = [
    {"action": "sync", "after": 0},
    {"action": "subscribe"},
    {"action": "subscribe", "after": 0},
    {"action": "ping", "heads": True},
]


def say(storage: IRepository, channel_id: str, text: str) -> None:
    author = Caller(user_id="alice", expires_at=2**31)
    MessagesService(storage).post(channel_id, author, PostMessage(text=text))


@pytest.fixture
def remove(
    storage: IRepository, join: Join, open_connection: Open, channel_id: str
) -> Callable[[], None]:
    """Removes bob, who listens, as the API does; the channel goes on without him."""
    for user_id in ("alice", "bob"):
        join(user_id, channel_id)
    say(storage, channel_id, "hello")
    open_connection("c1", "bob", channels=(channel_id,))

    def _remove() -> None:
        storage.delete(Table.CHANNELS, keys.member_key(channel_id, "bob"))
        ConnectionsService(storage).remove_user(channel_id, "bob")
        say(storage, channel_id, SECRET)
        join(NEWCOMER, channel_id)
        open_connection("c2", NEWCOMER, channels=(channel_id,))

    return _remove


@pytest.fixture
def remove_at(
    storage: IRepository, remove: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], None]:
    """Removes him before the read with that number, from 0 on."""
    left = -1

    def interrupted[**Call, Result](call: Callable[Call, Result]) -> Callable[Call, Result]:
        def counting(*args: Call.args, **kwargs: Call.kwargs) -> Result:
            nonlocal left
            left -= 1
            if left == -1:
                remove()
            return call(*args, **kwargs)

        return counting

    def _remove_at(nth: int) -> None:
        nonlocal left
        left = nth

    for name in READS:
        monkeypatch.setattr(storage, name, interrupted(getattr(storage, name)))
    return _remove_at


@pytest.mark.parametrize("nth", range(MOST_READS))
@pytest.mark.parametrize("fields", FRAMES, ids=lambda fields: "-".join(map(str, fields.values())))
def test_whoever_is_removed_meanwhile_gets_nothing_that_came_after(
    fields: Frame,
    nth: int,
    *,
    remove_at: Callable[[int], None],
    channel_id: str,
    management_api: ManagementApi,
    lambda_context: LambdaContext,
) -> None:
    remove_at(nth)

    frame = fields if fields["action"] == "ping" else {**fields, "channelId": channel_id}
    response = handler.lambda_handler(message_event("c1", frame), lambda_context)

    answers = management_api.frames("c1")
    if "body" in response:
        answers.append(frame_of(response))
    assert answers
    assert SECRET not in str(answers)
    assert NEWCOMER not in str(answers)
    assert all(
        answer.get("heads", {}).get(channel_id, 0) < SECRET_SEQ
        and answer.get("lastSeq", 0) < SECRET_SEQ
        for answer in answers
    )
