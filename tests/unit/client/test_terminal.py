"""The terminal client, played without a terminal: what stands on the screen after which key."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.fake_chat import FakeChat
from tests.unit.client.conftest import NewSession
from textual.pilot import Pilot
from textual.widgets import Static

from chat_client.terminal.app import ChatApp
from chat_client.terminal.views import (
    CallView,
    ChannelList,
    Composer,
    History,
    LineView,
    ReplyView,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

BOB = {"id": "bob", "kind": "user"}

type Screen = Callable[[ChatApp], bool]


class Terminal:
    def __init__(self, app: ChatApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    def texts(self) -> list[str]:
        """The messages on the screen, those not sent yet in brackets."""
        return [
            f"[{view.line.text}]" if view.has_class("pending") else view.line.text
            for view in self.app.query(LineView)
        ]

    def follows(self) -> bool:
        """Whether what comes from now on is seen: typing that is said before is missed."""
        conversation = self.app._conversation
        return conversation is not None and bool(conversation._tasks)

    def said(self, selector: str) -> str:
        return str(self.app.query_one(selector, Static).content)

    def screen(self) -> str:
        """Every character on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)

    async def until(self, met: Callable[[], bool]) -> None:
        while not met():
            await self.pilot.pause(0.01)

    async def until_on_screen(self, text: str) -> None:
        await self.until(lambda: text in self.screen())

    async def until_shown(self, count: int) -> None:
        await self.until(lambda: len(self.texts()) == count)

    async def write(self, text: str) -> None:
        self.app.query_one(Composer).text = text
        await self.pilot.press("enter")


@asynccontextmanager
async def terminal(
    chat: FakeChat, new_session: NewSession, size: tuple[int, int] = (80, 24)
) -> AsyncGenerator[Terminal]:
    app = ChatApp(new_session(), "room" if chat.channels else None)
    async with app.run_test(size=size, notifications=True) as pilot:
        played = Terminal(app, pilot)
        async with asyncio.timeout(40):
            await played.until(lambda: played.said("#link") == "● online")
            if chat.channels:
                await played.until(lambda: bool(chat.channel().subscribers))
                types = ("message.created", "tool.requested")
                lines = [each for each in chat.channel().events if each["type"] in types]
                await played.until_shown(min(50, len(lines)))
                await played.until(played.follows)
            yield played


async def test_history_and_what_comes_then_are_shown(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.append(text="first", sender=BOB)
    async with terminal(chat, new_session) as played:
        chat.append(text="second", sender=BOB)
        await played.until(lambda: played.texts() == ["first", "second"])

        await played.until(lambda: played.said("#title") == "# room")
        await played.until_on_screen("bob")


async def test_older_messages_come_by_scrolling_up_and_the_view_stays(
    chat: FakeChat, new_session: NewSession
) -> None:
    for number in range(1, 71):
        chat.append(text=f"message {number}", sender=BOB)
    async with terminal(chat, new_session) as played:
        assert played.texts()[0] == "message 21"
        history = played.app.query_one(History)
        history.scroll_home(animate=False)
        await played.until_shown(70)
        await played.until(lambda: history.scroll_y > 10)

        assert played.texts() == [f"message {number}" for number in range(1, 71)]


async def test_what_one_writes_stands_there_at_once_and_once(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with terminal(chat, new_session) as played:
        chat.silent = True
        await played.write("hello")
        await played.until(lambda: played.texts() == ["[hello]"])
        chat.silent = False
        chat.cut()
        await played.until(lambda: played.texts() == ["hello"])

        assert [event["data"]["text"] for event in chat.channel().events] == ["hello"]


async def test_enter_sends_and_ctrl_j_begins_a_line(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with terminal(chat, new_session) as played:
        await played.pilot.press("a", "ctrl+j", "b", "shift+enter", "c", "enter")
        await played.until(lambda: played.texts() == ["a\nb\nc"])


async def test_what_was_refused_may_be_written_again(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.refusals["sendmessage"] = [{"status": 403, "detail": "not allowed"}]
    async with terminal(chat, new_session) as played:
        await played.write("hello")
        await played.until(lambda: played.app.query_one(Composer).text == "hello")

        await played.until(lambda: "not allowed" in played.screen())
        assert played.texts() == []


async def test_a_reply_grows_and_its_final_event_takes_its_place(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.append(text="hello?")
    async with terminal(chat, new_session) as played:
        chat.delta("Good **day**", 0, 1)
        await played.until(lambda: "Good day" in played.screen())
        assert "agent is writing" in played.said("#hint")
        await played.pilot.press("ctrl+x")
        await played.until(lambda: bool(chat.actions("cancel")))
        chat.reply("Good **day**, Sir", 1)
        await played.until(lambda: not played.app.query(ReplyView))

        await played.until_on_screen("Good day, Sir")
        await played.until(lambda: played.said("#hint") == "")


async def test_a_failed_reply_says_why(chat: FakeChat, new_session: NewSession) -> None:
    chat.append(text="hello?")
    async with terminal(chat, new_session) as played:
        data = {"target": 1, "generation": 1, "reason": "throttled"}
        chat.append(event_type="agent.failed", data=data)
        await played.until(lambda: len(played.texts()) == 2)

        assert "the model is busy" in played.texts()[1]


async def test_events_of_types_to_come_are_passed_over(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with terminal(chat, new_session) as played:
        chat.append(event_type="tool.requested", data={"callId": "c-1"})
        chat.append(text="after it")
        await played.until(lambda: played.texts() == ["after it"])


async def test_own_messages_are_edited_and_deleted(chat: FakeChat, new_session: NewSession) -> None:
    chat.append(text="helo")
    async with terminal(chat, new_session) as played:
        await played.pilot.press("up", "e")
        assert played.app.query_one(Composer).text == "helo"
        await played.write("hello")
        await played.until(lambda: played.texts() == ["hello"])
        await played.until(lambda: "edited" in played.screen())
        await played.pilot.press("up", "d", "y")
        await played.until(lambda: "message deleted" in played.screen())


async def test_other_peoples_messages_offer_no_edit(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.append(text="hello", sender=BOB)
    async with terminal(chat, new_session) as played:
        await played.pilot.press("up", "e")

        assert played.app.query_one(Composer).text == ""
        assert "Edit" not in played.screen()


async def test_a_reaction_is_given_and_taken_back(chat: FakeChat, new_session: NewSession) -> None:
    chat.append(text="hello", sender=BOB)
    async with terminal(chat, new_session) as played:
        await played.pilot.press("up", "r", "enter")
        await played.until(lambda: "👍" in played.screen())
        await played.until(lambda: len(played.app.screen_stack) == 1)
        await played.pilot.press("r", "enter")
        await played.until(lambda: "👍" not in played.screen())


async def test_an_agents_message_is_asked_for_again(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.append(text="hello?")
    chat.reply("Good day", 1)
    async with terminal(chat, new_session) as played:
        await played.pilot.press("up", "g")
        await played.until(lambda: any(r.url.path.endswith("/2/regenerate") for r in chat.requests))


async def test_typing_presence_and_a_lost_connection_are_shown(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with terminal(chat, new_session) as played:
        about: dict[str, Any] = {"channelId": "room", "userId": "bob"}
        chat.push({"type": "typing", **about, "typing": True})
        await played.until(lambda: "bob is typing" in played.said("#hint"))
        chat.push({"type": "presence", **about, "online": True})
        await played.until(lambda: played.said("#people") == "you, bob")
        chat.ticket_statuses = [503] * 10_000
        chat.cut()
        await played.until(lambda: played.said("#link") == "○ reconnecting")
        chat.ticket_statuses = []
        await played.until(lambda: played.said("#link") == "● online")
        await played.pilot.press("h", "i")
        await played.until(lambda: bool(chat.actions("typing")))


async def test_unread_messages_of_other_channels_are_counted(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.channel("notes")
    async with terminal(chat, new_session) as played:
        await played.until(lambda: bool(chat.channel("notes").subscribers))
        for _ in range(3):
            chat.append("notes", sender=BOB)
        await played.until(lambda: "# notes" in played.screen() and " 3 " in played.screen())
        await played.pilot.press("ctrl+l", "up", "enter")
        await played.until(lambda: played.said("#title") == "# notes")
        await played.until(lambda: len(played.texts()) == 3)

        assert " 3 " not in played.screen().splitlines()[1]


async def test_the_first_channel_is_made_here(chat: FakeChat, new_session: NewSession) -> None:
    chat.channels.clear()
    async with terminal(chat, new_session) as played:
        await played.until(lambda: "Ctrl+N" in played.said("#hint"))
        await played.pilot.press("ctrl+n", *"plans", "enter")
        await played.until(lambda: played.said("#title") == "# plans")


async def test_the_end_of_a_channel_is_said(chat: FakeChat, new_session: NewSession) -> None:
    async with terminal(chat, new_session) as played:
        chat.end_subscriptions("room", "deleted")
        await played.until(lambda: "was deleted" in played.screen())
        await played.until(lambda: played.said("#title") == "No channel yet")


@pytest.mark.parametrize("width", [40, 80, 120])
async def test_no_line_is_wider_than_the_screen(
    chat: FakeChat, new_session: NewSession, width: int
) -> None:
    chat.channel().name = "a channel with quite a long name " * 3
    chat.append(text="a long word " * 40, sender={**BOB, "name": "Robert " * 10})
    async with terminal(chat, new_session, size=(width, 24)) as played:
        lines = played.screen().splitlines()

        assert len(lines) == 24
        assert played.app.query_one(ChannelList).display is (width >= 60)
        assert all(view.region.right <= width for view in played.app.query("*"))


async def test_a_refused_token_ends_it_and_says_so(chat: FakeChat, new_session: NewSession) -> None:
    chat.ticket_statuses = [401]
    app = ChatApp(new_session())
    async with app.run_test() as pilot:
        while app.failure is None:
            await pilot.pause(0.01)

    assert app.failure.status == 401


async def test_a_call_is_shown_in_full_and_approved_by_a_key(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.append(text="note: milk")
    async with terminal(chat, new_session, (100, 40)) as played:
        call = chat.call(arguments={"text": "milk\nand bread", "times": 2})
        await played.until_on_screen("needs your approval")
        for text in ("notes.add", "and bread", "times: 2", "you decide, until", "a approves"):
            assert text in played.screen()
        await played.until(lambda: "your approval is needed" in played.said("#hint"))

        await played.pilot.press("up", "a")

        await played.until_on_screen("running, approved by you")
        sent = [each for each in chat.requests if each.url.path.endswith("/decision")]
        assert b"argumentsDigest" in sent[0].content
        chat.finish(call, result="noted as 7")
        await played.until_on_screen("done, approved by you")
        assert "noted as 7" not in played.screen()
        await played.pilot.press("o")
        await played.until_on_screen("noted as 7")


async def test_a_call_is_denied_by_a_key(chat: FakeChat, new_session: NewSession) -> None:
    chat.append(text="note: milk")
    async with terminal(chat, new_session) as played:
        chat.call()
        await played.until_on_screen("needs your approval")

        await played.pilot.press("up", "x")

        await played.until_on_screen("denied by you")
        assert "milk" not in played.screen().split("notes.add")[1]


async def test_who_may_not_decide_sees_who_does(chat: FakeChat, new_session: NewSession) -> None:
    chat.append(text="note: milk", sender=BOB)
    async with terminal(chat, new_session) as played:
        call = chat.call()
        await played.until_on_screen("bob decides")
        view = played.app.query_one(CallView)
        assert not view.check_action("approve", ())

        chat.decide(call, "deny", by="bob")

        await played.until_on_screen("denied by bob")


async def test_calls_of_history_are_shown_and_what_is_not_known_is_said(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.append(text="note: milk")
    call = chat.call()
    chat.decide(call, "approve")
    chat.finish(call, "unknown", result=None)
    chat.reply("Please look.", 1)
    async with terminal(chat, new_session, size=(100, 24)) as played:
        await played.until_on_screen("outcome unknown, approved by you: it is not called again")

        order = [view.line.kind for view in played.app.query(LineView)]
        assert order == ["user", "call", "agent"]


async def test_a_deleted_question_empties_its_calls(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.append(text="note: milk", sender=BOB)
    async with terminal(chat, new_session) as played:
        chat.call(arguments={"text": "a secret"})
        await played.until_on_screen("a secret")

        chat.append(event_type="message.deleted", data={"target": 1}, sender=BOB)

        await played.until_on_screen("what it was called with was deleted")
        assert "a secret" not in played.screen()
