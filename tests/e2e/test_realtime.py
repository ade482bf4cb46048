"""Delivery on the running stack: in order, once seen, whoever drops off and comes back."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, AsyncExitStack
from urllib.parse import quote

import pytest
from tests.e2e.clients import (
    Json,
    RestClient,
    Socket,
    connections_in,
    eventually,
    open_socket,
)
from tests.e2e.crowd import Listener, join
from websockets.exceptions import InvalidStatus

type Connect = Callable[..., AbstractContextManager[Socket]]


def frames_of(socket: Socket, frame_type: str, channel: str) -> list[Json]:
    return [
        frame
        for frame in list(socket.frames)
        if frame.get("type") == frame_type and frame.get("channelId") == channel
    ]


def test_180_of_200_sockets_get_a_hundred_messages_in_order_while_20_are_cut(
    alice: RestClient, bob: RestClient, websocket_url: str
) -> None:
    channel = alice.create_channel("bob")

    async def crowd() -> tuple[list[Listener], list[Listener]]:
        async with AsyncExitStack() as stack:
            listeners = await join(stack, websocket_url, [alice, bob], channel, 200)
            doomed, living = listeners[::10], [
                listener for number, listener in enumerate(listeners) if number % 10
            ]

            def post() -> None:
                for number in range(100):
                    alice.post(channel, f"message {number}")

            posting = asyncio.create_task(asyncio.to_thread(post))
            await asyncio.sleep(1)
            for listener in doomed:
                listener.cut()
            await posting
            async with asyncio.timeout(60):
                await asyncio.gather(*(listener.has_seen(100) for listener in living))
            eventually(lambda: connections_in(alice, channel) == len(living))
            return doomed, living

    doomed, living = asyncio.run(crowd())

    assert (len(doomed), len(living)) == (20, 180)
    for listener in living:
        assert listener.first_seen() == list(range(1, 101))


@pytest.mark.parametrize("count", [60, pytest.param(200, marks=pytest.mark.rare)])
def test_a_client_that_drops_off_every_second_has_every_message_once_in_order(
    alice: RestClient, bob: RestClient, connect: Connect, count: int
) -> None:
    channel = alice.create_channel("bob")

    def post() -> None:
        with alice.again() as client:
            for number in range(count):
                client.post(channel, f"message {number}")

    writer = threading.Thread(target=post)
    writer.start()
    seen: list[int] = []
    deadline = time.monotonic() + 120
    while len(seen) < count and time.monotonic() < deadline:
        with connect(bob) as socket:
            ack = socket.ask("subscribe", channelId=channel, after=len(seen))
            while ack["hasMore"]:
                page = socket.ask("sync", channelId=channel, after=ack["through"])
                ack = {"hasMore": page["hasMore"], "through": page["items"][-1]["seq"]}
            time.sleep(1)
            # Repeats may come at any time.
            numbers = [
                seq
                for seq in dict.fromkeys(event["seq"] for event in socket.events(channel))
                if seq > len(seen)
            ]
            assert numbers == list(range(len(seen) + 1, len(seen) + 1 + len(numbers)))
            seen += numbers
    writer.join()

    assert seen == list(range(1, count + 1))


def test_replay_turns_live_without_a_gap_while_others_write(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel("bob")
    for number in range(40):
        alice.post(channel, f"before {number}")

    def post() -> None:
        with alice.again() as client:
            for number in range(60):
                client.post(channel, f"meanwhile {number}")

    with connect(bob) as socket, ThreadPoolExecutor(1) as pool:
        writing = pool.submit(post)
        ack = socket.ask("subscribe", channelId=channel, after=10)
        writing.result()
        socket.wait_for_events(channel, 90)

        assert (ack["type"], ack["hasMore"]) == ("ack", False)
        assert [event["seq"] for event in socket.events(channel)] == list(range(11, 101))


def test_who_is_removed_hears_unsubscribed_and_then_nothing(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel("bob")
    with connect(bob, channels=[channel]) as removed, connect(alice, channels=[channel]) as other:
        alice.call("DELETE", f"/channels/{channel}/members/bob", 204)
        alice.post(channel, "without bob")
        other.wait_for(lambda _frames: len(other.events(channel)) == 2)
        removed.wait_for(lambda _frames: bool(frames_of(removed, "unsubscribed", channel)))
        time.sleep(1)

        (unsubscribed,) = frames_of(removed, "unsubscribed", channel)
        assert unsubscribed["reason"] == "removed"
        assert removed.frames[-1] == unsubscribed
        assert [event["type"] for event in other.events(channel)] == [
            "member.left",
            "message.created",
        ]
        assert "message.created" not in [event["type"] for event in removed.events(channel)]


def test_a_deleted_channel_ends_its_subscriptions(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel("bob")
    with connect(bob, channels=[channel]) as socket:
        alice.call("DELETE", f"/channels/{channel}", 204)
        socket.wait_for(lambda _frames: bool(frames_of(socket, "unsubscribed", channel)))

        assert frames_of(socket, "unsubscribed", channel)[0]["reason"] == "deleted"
        assert socket.ask("sync", channelId=channel, after=0)["error"]["status"] == 404
        bob.call("GET", f"/channels/{channel}", 404)


def test_presence_says_online_once_and_offline_once_through_a_swap_of_connections(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel("bob")
    with connect(alice, channels=[channel]) as observer:

        def told() -> list[bool]:
            frames = frames_of(observer, "presence", channel)
            return [frame["online"] for frame in frames if frame["userId"] == "bob"]

        with connect(bob, channels=[channel]):
            observer.wait_for(lambda _frames: told() == [True])
        time.sleep(2)
        with connect(bob, channels=[channel]):
            time.sleep(6)
            assert connections_in(alice, channel) == 2
        observer.wait_for(lambda _frames: len(told()) > 1, timeout=20)
        time.sleep(2)

        assert told() == [True, False]


def test_of_ten_handshakes_with_one_ticket_one_succeeds(
    alice: RestClient, websocket_url: str
) -> None:
    ticket = alice.ticket()

    def handshake(_number: int) -> bool:
        try:
            with open_socket(websocket_url, f"ticket={ticket}"):
                return True
        except InvalidStatus:
            return False

    with ThreadPoolExecutor(10) as pool:
        assert sorted(pool.map(handshake, range(10))) == [False] * 9 + [True]


def test_typing_and_read_marks_reach_the_others_only(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel("bob")
    alice.post(channel, "read me")
    with connect(alice, channels=[channel]) as first, connect(bob, channels=[channel]) as second:
        second.send("typing", channelId=channel, typing=True)
        assert second.ask("read", channelId=channel, seq=1)["type"] == "ack"
        first.wait_for(lambda _frames: bool(frames_of(first, "read", channel)))
        first.wait_for(lambda _frames: bool(frames_of(first, "typing", channel)))

        (typing,) = frames_of(first, "typing", channel)
        (read,) = frames_of(first, "read", channel)
        assert typing == {
            "type": "typing",
            "channelId": channel,
            "userId": "bob",
            "typing": True,
        }
        assert read == {"type": "read", "channelId": channel, "userId": "bob", "seq": 1}
        assert not frames_of(second, "typing", channel)
        assert not frames_of(second, "read", channel)


def test_who_stops_typing_at_once_is_told_of_afterwards(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel("bob")
    with connect(alice, channels=[channel]) as first, connect(bob, channels=[channel]) as second:
        second.send("typing", channelId=channel, typing=True)
        first.wait_for(lambda _frames: bool(frames_of(first, "typing", channel)))
        second.send("typing", channelId=channel, typing=False)
        first.wait_for(lambda _frames: len(frames_of(first, "typing", channel)) > 1)

        assert [frame["typing"] for frame in frames_of(first, "typing", channel)] == [True, False]


def test_a_ping_with_heads_shows_what_a_lost_push_would_hide(
    alice: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel()
    with connect(alice, channels=[channel]) as socket:
        alice.post(channel, "one")

        assert socket.ask("ping", heads=True)["heads"] == {channel: 1}
        assert "heads" not in socket.ask("ping")


def test_a_fresh_token_prolongs_a_connection(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    with connect(alice) as socket:
        prolonged = socket.ask("authenticate", token=alice.token)
        refused = socket.ask("authenticate", token=bob.token)

        assert prolonged["type"] == "ack"
        assert prolonged["expiresAt"]
        assert refused["type"] == "error"
        assert socket.ask("ping")["type"] == "pong"


@pytest.mark.parametrize("emoji", ["🦜", "👩‍👩‍👧", "❤️", "%"])
def test_a_reaction_survives_its_way_through_a_path(
    alice: RestClient, connect: Connect, emoji: str
) -> None:
    channel = alice.create_channel()
    alice.post(channel, "react to me")
    path = f"/channels/{channel}/messages/1/reactions/{quote(emoji, safe='')}"
    with connect(alice, channels=[channel]) as socket:
        alice.call("PUT", path, 204)
        alice.call("PUT", path, 204)
        socket.wait_for_events(channel, 1)

        message = alice.call("GET", f"/channels/{channel}/messages/1", 200).json()
        assert message["reactions"] == {emoji: ["alice"]}
        alice.call("DELETE", path, 204)
        assert alice.call("GET", f"/channels/{channel}/messages/1", 200).json()["reactions"] == {}
        assert len(alice.events(channel)) == 3
