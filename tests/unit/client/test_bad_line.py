"""A session over a line that cuts, delays, repeats, reorders and loses."""

import asyncio
import random

import pytest
from tests.support.fake_chat import FakeChat
from tests.support.unruly_proxy import Faults, UnrulyProxy
from tests.unit.client.conftest import NewSession

from chat_client import Backoff, SessionSettings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

EVENTS = 1_000
CUTS = 50
UNRULY = Faults(cuts=CUTS, frames_a_cut=12, delay=0.002, duplicate=0.15, reorder=0.15, lose=0.02)
IMPATIENT = SessionSettings(
    open_seconds=30.0,
    answer_seconds=1.0,
    ping_seconds=0.05,
    backoff=Backoff(base=0.002, cap=0.02),
)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_thousand_events_come_once_and_in_order_through_fifty_cuts(
    chat: FakeChat, socket_url: str, new_session: NewSession, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret

    async def write() -> None:
        for number in range(EVENTS):
            chat.append(text=str(number))
            if chance.random() < 0.5:
                await asyncio.sleep(0.002)

    async with (
        UnrulyProxy(socket_url, UNRULY, seed=seed).serve() as proxy,
        new_session(url=proxy.url, settings=IMPATIENT) as session,
    ):
        await session.subscribe("room")
        writing = asyncio.create_task(write())
        events = session.events("room")
        seen = [(await anext(events)).seq for _ in range(EVENTS)]
        while proxy.stats.cuts < CUTS:
            await session.send("room", "until the line was cut often enough")
        await writing
        seen += [(await anext(events)).seq for _ in range(chat.channel().head - EVENTS)]

    assert seen == list(range(1, chat.channel().head + 1))
    assert proxy.stats.cuts == CUTS
    assert min(proxy.stats.duplicates, proxy.stats.reordered) > 0


@pytest.mark.parametrize("seed", [4, 5])
async def test_what_is_sent_over_a_bad_line_is_stored_once_and_in_order(
    chat: FakeChat, socket_url: str, new_session: NewSession, seed: int
) -> None:
    async with (
        UnrulyProxy(socket_url, UNRULY, seed=seed).serve() as proxy,
        new_session(url=proxy.url, settings=IMPATIENT) as session,
    ):
        sent = [await session.send("room", str(number)) for number in range(200)]

    assert sent == list(range(1, 201))
    assert [event["data"]["text"] for event in chat.channel().events] == [
        str(number) for number in range(200)
    ]


@pytest.mark.parametrize("seed", [6, 7])
async def test_a_reply_over_a_bad_line_is_its_final_text(
    chat: FakeChat, socket_url: str, new_session: NewSession, seed: int
) -> None:
    words = [f"word{number} " for number in range(120)]

    async def speak(question: int) -> None:
        for index, word in enumerate(words):
            chat.delta(word, index, question)
            if index % 20 == 19:
                chat.delta("".join(words[: index + 1]), index, question, snapshot=True)
            await asyncio.sleep(0.002)
        chat.reply("".join(words), question)

    async with (
        UnrulyProxy(socket_url, UNRULY, seed=seed).serve() as proxy,
        new_session(url=proxy.url, settings=IMPATIENT) as session,
    ):
        await session.subscribe("room")
        question = await session.send("room", "Tell me")
        speaking = asyncio.create_task(speak(question))
        text = ""
        async for delta in session.reply("room", question):
            text = delta.text if delta.snapshot else text + delta.text
        await speaking

    assert text == "".join(words)
