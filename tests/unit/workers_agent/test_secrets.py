"""Nothing that a model says, and no exception's message, gets into a log line."""

import pytest
from tests.doubles.canary import canary
from tests.unit.workers_agent.conftest import Room, ScriptedModel, fails, says


def test_neither_question_nor_reply_is_logged(room: Room) -> None:
    seq = room.say(canary("question"))

    room.answer(ScriptedModel(says(canary("reply"), canary("more"))), seq)

    assert [reply.data.text for reply in room.replies()] == [canary("reply") + canary("more")]


@pytest.mark.parametrize("after", [(), (canary("begun"),)])
def test_an_exceptions_message_is_not_logged(room: Room, after: tuple[str, ...]) -> None:
    seq = room.say(canary("question"))

    room.answer(ScriptedModel(fails(RuntimeError(canary("exception")), after=after)), seq)


def test_a_broadcasters_exception_is_not_logged(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(canary("exception"))

    room.listen("c1")
    monkeypatch.setattr(room.broadcaster, "send", broken)
    seq = room.say(canary("question"))

    room.answer(ScriptedModel(says(canary("reply"))), seq)
