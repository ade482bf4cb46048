"""The Python SDK against the running stack, over a good line and a bad one."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.e2e.clients import RestClient
from tests.support.unruly_proxy import Faults, UnrulyProxy

from chat_client import (
    AgentChanges,
    Backoff,
    ChatClient,
    ChatError,
    ChatSession,
    MessageCreated,
    SessionSettings,
    UnsubscribedError,
)
from devstack.local_stack import LocalStack

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[2] / "libs" / "client" / "examples"
UNRULY = Faults(frames_a_cut=10, delay=0.01, duplicate=0.1, reorder=0.1, lose=0.01)
IMPATIENT = SessionSettings(
    answer_seconds=10.0, ping_seconds=1.0, backoff=Backoff(base=0.05, cap=1.0)
)

type Token = Callable[[str], str]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def example(name: str, *arguments: str) -> str:
    command: list[str | Path] = [sys.executable, EXAMPLES / name, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_examples_run_as_they_stand(
    rest_url: str, websocket_url: str, token: Token, client_of: Callable[[str], RestClient]
) -> None:
    reader = client_of("reader")

    reply = example("ask_the_agent.py", rest_url, websocket_url, reader.token, "What is this?")

    (channel,) = reader.call("GET", "/channels", 200).json()["items"]
    _, answer = reader.events(channel["channelId"])
    assert answer["sender"]["kind"] == "agent"
    assert reply == answer["data"]["text"] + "\n"
    assert example("post_by_rest.py", rest_url, token("alice")) == "1 alice Remember the milk\n"


def test_the_example_that_follows_a_channel_ends_with_it(
    rest_url: str, websocket_url: str, token: Token, alice: RestClient
) -> None:
    channel = alice.create_channel()
    alice.post(channel, "something to read")
    arguments = [rest_url, websocket_url, token("alice"), channel]
    with subprocess.Popen(
        [sys.executable, EXAMPLES / "follow_a_channel.py", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "alice: something to read\n"
        alice.call("DELETE", f"/channels/{channel}", 204)

        assert following.stdout.read() == "The channel ended: deleted.\n"
    assert following.returncode == 0


def chat(local_stack: LocalStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    config = local_stack.config
    environment = {
        **os.environ,
        "CHAT_PORT": str(config.port),
        "CHAT_LOCAL_DIR": str(config.local_dir),
    }
    command = [sys.executable, "-m", "devstack", "chat", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment
    )


def test_poe_chat_prints_one_reply_and_says_by_its_exit_code_what_came_of_it(
    local_stack: LocalStack, client_of: Callable[[str], RestClient]
) -> None:
    asker = client_of("asker")
    silent = asker.create_channel()

    replied = chat(local_stack, "--user", "asker", "--once", "What is this place?")
    channel = replied.stderr.split()[-1]
    again = chat(local_stack, "--user", "asker", "--channel", channel, "--once", "And now?")
    off = chat(local_stack, "--user", "asker", "--channel", silent, "--once", "Anybody?")
    nowhere = chat(local_stack, "--user", "asker", "--channel", "A" * 22, "--once", "Anybody?")

    assert (replied.returncode, again.returncode) == (0, 0), replied.stderr + again.stderr
    texts = [event["data"]["text"] + "\n" for event in asker.events(channel)]
    assert [replied.stdout, again.stdout] == [texts[1], texts[3]]
    assert (off.returncode, off.stdout) == (3, "")
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert "404" in nowhere.stderr


async def test_a_conversation(rest_url: str, websocket_url: str, token: Token) -> None:
    async with ChatSession(rest_url, websocket_url, token=token("alice")) as session:
        channel = (await session.client.create_channel("talk", members=["bob"])).channel_id
        await session.subscribe(channel)
        deltas = session.deltas(channel)
        seq = await session.send(channel, "What can you do for us?", "m-1")
        assert await session.send(channel, "What can you do for us?", "m-1") == seq
        reply = session.reply(channel, seq)
        text = await reply.text()

        events = session.events(channel)
        question, answer = await anext(events), await anext(events)
        assert question.seq == seq
        assert isinstance(answer, MessageCreated)
        assert answer.data.text == text
        assert answer == reply.event
        shown = ""
        while shown != text:
            delta = await anext(deltas)
            shown = delta.text if delta.snapshot else shown + delta.text


async def test_long_texts_and_what_is_refused(
    rest_url: str, websocket_url: str, token: Token
) -> None:
    async with ChatSession(rest_url, websocket_url, token=lambda: token("alice")) as session:
        channel = await session.client.create_channel("long", agent=AgentChanges(mode="off"))
        assert await session.send(channel.channel_id, "🦜" * 16_000) == 1
        assert (await session.client.get_message(channel.channel_id, 1)).text == "🦜" * 16_000

        with pytest.raises(ChatError) as too_long:
            await session.send(channel.channel_id, "x" * 16_001)
        assert too_long.value.status == 413
        with pytest.raises(ChatError) as unknown:
            await session.subscribe("A" * 22)
        assert unknown.value.status == 404


async def test_who_is_removed_is_told_and_who_types_is_seen(
    rest_url: str, websocket_url: str, token: Token
) -> None:
    async with (
        ChatSession(rest_url, websocket_url, token=token("alice")) as alice,
        ChatSession(rest_url, websocket_url, token=token("bob")) as bob,
    ):
        created = await alice.client.create_channel(
            "hall", members=["bob"], agent=AgentChanges(mode="off")
        )
        channel = created.channel_id
        await alice.subscribe(channel)
        typing, reads = alice.typing_updates(channel), alice.read_updates(channel)
        presence = alice.presence_updates(channel)
        await bob.subscribe(channel)
        async with asyncio.timeout(30):
            while (await anext(presence)).user_id != "bob":
                pass
            await bob.typing(channel)
            assert (await anext(typing)).user_id == "bob"
            await alice.send(channel, "read me")
            await bob.mark_read(channel, 1)
            assert ((read := await anext(reads)).user_id, read.seq) == ("bob", 1)
            await alice.client.remove_member(channel, "bob")
            with pytest.raises(UnsubscribedError) as ended:
                async for _ in bob.events(channel):
                    pass
    assert ended.value.reason == "removed"


def test_every_kind_of_rest_call(rest_url: str, token: Token) -> None:
    with ChatClient(rest_url, token=token("alice")) as client:
        assert client.get_health().status == "ok"
        assert client.get_me().user_id == "alice"
        channel = client.create_channel("all", agent={"mode": "off"}).channel_id
        assert channel in [each.channel_id for each in client.list_channels(limit=100).items]
        assert client.update_channel(channel, name="renamed").name == "renamed"
        assert client.put_member(channel, "bob").role == "member"
        assert len(client.list_members(channel).items) == 2
        seq = client.post_message(channel, "hello", metadata={"a": 1}).seq
        assert client.edit_message(channel, seq, "good day").text == "good day"
        client.add_reaction(channel, seq, "👍")
        assert client.get_message(channel, seq).reactions == {"👍": ["alice"]}
        client.remove_reaction(channel, seq, "👍")
        client.set_read_mark(channel, seq)
        assert client.get_channel(channel).read_seq >= seq
        assert client.get_presence(channel).items == []
        client.cancel_generations(channel)
        with pytest.raises(ChatError) as no_reply:
            client.regenerate_reply(channel, seq)
        assert no_reply.value.status == 422
        client.delete_message(channel, seq)
        assert client.list_messages(channel).items[0].deleted_at is not None
        types = [event.type for event in client.list_events(channel, limit=100).items]
        assert types[-1] == "message.deleted"
        client.remove_member(channel, "bob")
        client.delete_channel(channel)
        with pytest.raises(ChatError) as gone:
            client.get_channel(channel)
        assert gone.value.status == 404


@pytest.mark.parametrize(
    "trial", [(120, 6), pytest.param((1_000, 50), marks=pytest.mark.rare)], ids=str
)
async def test_events_come_once_and_in_order_through_many_cuts(
    rest_url: str, websocket_url: str, token: Token, alice: RestClient, trial: tuple[int, int]
) -> None:
    events, cuts = trial
    unruly = replace(UNRULY, cuts=cuts)
    channel = alice.create_channel("bob")

    def write(share: int) -> None:
        with alice.again() as client:
            for number in range(share):
                client.post(channel, f"message {number}")

    seen: list[int] = []
    async with (
        UnrulyProxy(websocket_url, unruly, seed=11).serve() as proxy,
        ChatSession(rest_url, proxy.url, token=token("bob"), settings=IMPATIENT) as session,
    ):
        await session.subscribe(channel)
        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(write, events // 4) for _ in range(4)]
            async with asyncio.timeout(400):
                async for event in session.events(channel):
                    seen.append(event.seq)
                    if event.seq == events:
                        break
                while proxy.stats.cuts < cuts:
                    seen.append(await session.send(channel, "until the line was cut often enough"))
        for writer in writers:
            writer.result()

    assert seen == list(range(1, len(seen) + 1))
    assert proxy.stats.cuts == cuts
