"""One question for scripts: the reply on stdout, the rest on stderr, an exit code for each end."""

import asyncio
import io

import pytest
from tests.support.fake_chat import FakeChat, problem
from tests.unit.client.conftest import NewSession

from chat_client.terminal.once import Exit, Once

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


class Script:
    """Asks, while somebody answers."""

    def __init__(self, new_session: NewSession, *, seconds: float = 10, watched: bool = False):
        self.out = _Terminal() if watched else io.StringIO()
        self.err = io.StringIO()
        self._once = Once(new_session(), seconds=seconds, out=self.out, err=self.err)

    async def ask(self, text: str = "hello?", channel_id: str | None = "room") -> Exit:
        return await self._once.ask(text, channel_id)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def answer(chat: FakeChat, *texts: str, finish: str = "stop") -> None:
    """Waits for a question and answers it in pieces."""
    async with chat.received:
        await chat.received.wait_for(lambda: bool(chat.actions("sendmessage")))
    channel = chat.channel(chat.actions("sendmessage")[0]["channelId"])
    for index, text in enumerate(texts):
        chat.delta(text, index, 1, channel.channel_id)
    event = chat.reply("".join(texts), 1, channel.channel_id)
    event["data"]["finishReason"] = finish


@pytest.mark.parametrize("watched", [False, True])
async def test_the_reply_is_printed_and_nothing_else(
    chat: FakeChat, new_session: NewSession, watched: bool
) -> None:
    script = Script(new_session, watched=watched)

    code, _ = await asyncio.gather(script.ask(), answer(chat, "Good", " day"))

    assert (code, script.out.getvalue(), script.err.getvalue()) == (Exit.REPLIED, "Good day\n", "")


async def test_without_a_channel_one_is_made_and_told(
    chat: FakeChat, new_session: NewSession
) -> None:
    script = Script(new_session)

    code, _ = await asyncio.gather(
        script.ask("What is\n this? " * 9, None), answer(chat, "Good day")
    )

    assert code == Exit.REPLIED
    assert script.err.getvalue() == "channel channel-2\n"
    assert chat.channels["channel-2"].name.startswith("What is this?")


async def test_a_failed_reply_has_its_code_and_reason(
    chat: FakeChat, new_session: NewSession
) -> None:
    async def fail() -> None:
        async with chat.received:
            await chat.received.wait_for(lambda: bool(chat.actions("sendmessage")))
        data = {"target": 1, "generation": 1, "reason": "timeout"}
        chat.append(event_type="agent.failed", data=data)

    script = Script(new_session)

    code, _ = await asyncio.gather(script.ask(), fail())

    assert (code, script.out.getvalue()) == (Exit.NO_REPLY, "")
    assert "timeout" in script.err.getvalue()


async def test_a_stopped_reply_has_its_code(chat: FakeChat, new_session: NewSession) -> None:
    script = Script(new_session)

    code, _ = await asyncio.gather(script.ask(), answer(chat, "Good", finish="cancelled"))

    assert (code, script.out.getvalue()) == (Exit.NO_REPLY, "Good\n")


@pytest.mark.parametrize(("mode", "text"), [("off", "@agent hello"), ("mention", "an@agent.org")])
async def test_who_will_not_be_answered_is_told_at_once(
    chat: FakeChat, new_session: NewSession, mode: str, text: str
) -> None:
    chat.channel().mode = mode
    script = Script(new_session)

    assert await script.ask(text) == Exit.NO_REPLY
    assert script.err.getvalue()
    assert not chat.actions("sendmessage")


async def test_no_reply_in_time_has_its_code(chat: FakeChat, new_session: NewSession) -> None:
    script = Script(new_session, seconds=0.3)

    assert await script.ask() == Exit.TIMEOUT
    assert "No reply within" in script.err.getvalue()


async def test_a_refusal_has_its_code(chat: FakeChat, new_session: NewSession) -> None:
    chat.refusals["sendmessage"] = [problem(413, "too long")]
    assert await Script(new_session).ask() == Exit.REFUSED
    assert await Script(new_session).ask(channel_id="nowhere") == Exit.REFUSED

    chat.ticket_statuses = [401]
    script = Script(new_session)
    assert await script.ask() == Exit.REFUSED
    assert script.err.getvalue().startswith("401")


async def test_a_reply_that_waits_for_approval_is_said_with_its_own_code(
    chat: FakeChat, new_session: NewSession
) -> None:
    async def ask() -> None:
        async with chat.received:
            await chat.received.wait_for(lambda: bool(chat.actions("sendmessage")))
        chat.delta("I note it.", 0, 1)
        chat.call(arguments={"text": "milk"})
        chat.call(tool="clock.now", arguments={}, approval="none")

    script = Script(new_session)

    code, _ = await asyncio.gather(script.ask(), ask())

    assert (code, script.out.getvalue()) == (Exit.WAITING, "")
    said = script.err.getvalue()
    assert "notes.add waits for approval (whoever asked decides, until" in said
    assert "  text: milk\n" in said
    assert "clock.now" not in said
    assert said.endswith("The reply goes on in channel room once that is decided.\n")


async def test_a_call_that_is_decided_at_once_holds_nothing_up(
    chat: FakeChat, new_session: NewSession
) -> None:
    async def ask() -> None:
        async with chat.received:
            await chat.received.wait_for(lambda: bool(chat.actions("sendmessage")))
        call = chat.call(approval="anyone")
        chat.decide(call, "approve", by="bob")
        chat.finish(call)
        chat.delta("Done", 0, 1)
        chat.reply("Done", 1)

    script = Script(new_session)

    code, _ = await asyncio.gather(script.ask(), ask())

    assert (code, script.out.getvalue()) == (Exit.REPLIED, "Done\n")
