"""The main job on the running stack: in by REST or WebSocket, out at every open socket, answered."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from threading import Barrier

import pytest
from tests.e2e.clients import REPLY_TIMEOUT, Json, RestClient, Socket, spoken

type Connect = Callable[..., AbstractContextManager[Socket]]


def test_a_message_and_the_streamed_reply_reach_an_open_socket(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel("bob", mode="always")
    with connect(bob, channels=[channel]) as socket:
        question = alice.post(channel, "What can you do for us?")
        question_event, reply = socket.wait_for_events(channel, 2)

        assert question_event == question
        assert reply["sender"]["kind"] == "agent"
        assert reply["data"]["replyTo"] == question["seq"]
        assert reply["data"]["generation"] == 1
        assert reply["data"]["finishReason"] == "stop"
        deltas = socket.deltas(channel, question["seq"])
        assert len(deltas) > 3
        assert [delta["index"] for delta in deltas] == list(range(len(deltas)))
        assert spoken(deltas) == reply["data"]["text"]
        assert alice.events(channel) == [question, reply]


def test_deltas_arrive_while_the_model_still_speaks(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel("bob", mode="always")
    with connect(bob, channels=[channel]) as socket:
        question = alice.post(channel, "Tell us a little more, please")
        socket.wait_for(lambda _frames: len(socket.deltas(channel, question["seq"])) >= 2)

        assert len(alice.events(channel)) == 1


def test_twenty_writers_leave_no_gap_and_every_socket_sees_every_event_in_order(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel("bob")
    with connect(alice, channels=[channel]) as first, connect(bob, channels=[channel]) as second:

        warm = Barrier(20)

        def write(writer: int) -> list[int]:
            with alice.again() as client:
                client.call("GET", "/me", 200)
                warm.wait(timeout=120)
                return [client.post(channel, f"{writer}-{n}")["seq"] for n in range(10)]

        with ThreadPoolExecutor(20) as pool:
            numbers = [seq for seqs in pool.map(write, range(20)) for seq in seqs]

        assert sorted(numbers) == list(range(1, 201))
        for socket in (first, second):
            events = socket.wait_for_events(channel, 200, timeout=60)
            assert [event["seq"] for event in events] == list(range(1, 201))


def test_of_48_posts_with_one_client_message_id_one_appends(alice: RestClient) -> None:
    channel = alice.create_channel()

    def post(_n: int) -> tuple[int, str | None, int]:
        body = {"text": "once", "clientMessageId": "m-1"}
        with alice.again() as client:
            response = client.http.post(
                f"{alice.rest_url}/v1/channels/{channel}/messages", json=body
            )
        replayed = response.headers.get("Idempotent-Replayed")
        return response.status_code, replayed, response.json()["seq"]

    with ThreadPoolExecutor(48) as pool:
        answers = list(pool.map(post, range(48)))

    assert sorted(answers, key=lambda answer: answer[0]) == (
        [(200, "true", 1)] * 47 + [(201, None, 1)]
    )
    assert len(alice.events(channel)) == 1


def test_a_message_sent_by_socket_is_acknowledged_and_delivered(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel("bob")
    with connect(alice, channels=[channel]) as sender, connect(bob) as receiver:
        assert receiver.ask("subscribe", channelId=channel)["type"] == "ack"

        ack = sender.ask("sendmessage", channelId=channel, text="héllo 🦜", clientMessageId="m-1")
        again = sender.ask("sendmessage", channelId=channel, text="héllo 🦜", clientMessageId="m-1")

        assert (ack["type"], ack["seq"], ack["duplicate"]) == ("ack", 1, False)
        assert (again["seq"], again["duplicate"]) == (1, True)
        (event,) = receiver.wait_for_events(channel, 1)
        assert event["data"]["text"] == "héllo 🦜"
        assert event["clientMessageId"] == "m-1"


def test_who_unsubscribes_hears_nothing_more_and_syncs_what_was_missed(
    alice: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel()
    with (
        connect(alice, channels=[channel]) as listener,
        connect(alice, channels=[channel]) as other,
    ):
        assert listener.ask("unsubscribe", channelId=channel)["type"] == "ack"
        alice.post(channel, "one")
        alice.post(channel, "two")
        other.wait_for_events(channel, 2)

        answer = listener.ask("sync", channelId=channel, after=0)

        assert listener.events(channel) == []
        assert [event["data"]["text"] for event in answer["items"]] == ["one", "two"]
        assert (answer["lastSeq"], answer["hasMore"]) == (2, False)


@pytest.mark.parametrize(
    "frame",
    [
        {"action": "nonsense"},
        {"action": "sendmessage"},
        {"action": "subscribe", "channelId": "unknown"},
        {"action": "ping", "unknown": 1},
    ],
)
def test_a_bad_frame_is_answered_and_the_connection_stays(
    alice: RestClient, connect: Connect, frame: Json
) -> None:
    with connect(alice) as socket:
        answer = socket.ask(**frame)

        assert answer["type"] == "error"
        assert answer["error"]["status"] in {404, 422}
        assert socket.ask("ping")["type"] == "pong"


def test_a_stranger_finds_no_channel(
    alice: RestClient, carol: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel()
    alice.post(channel, "among us")

    for method, path in [
        ("GET", ""),
        ("GET", "/members"),
        ("GET", "/messages"),
        ("GET", "/messages/1"),
        ("GET", "/events"),
        ("DELETE", "/members/alice"),
    ]:
        carol.call(method, f"/channels/{channel}{path}", 404)
    carol.call("POST", f"/channels/{channel}/messages", 404, json={"text": "hi"})
    carol.call("PUT", f"/channels/{channel}/members/carol", 404, json={"role": "member"})
    with connect(carol) as socket:
        assert socket.ask("subscribe", channelId=channel)["error"]["status"] == 404
        assert socket.ask("sync", channelId=channel, after=0)["error"]["status"] == 404
        assert socket.ask("sendmessage", channelId=channel, text="x")["error"]["status"] == 404
    assert len(alice.events(channel)) == 1


def test_one_channels_reply_waits_for_no_other(alice: RestClient, connect: Connect) -> None:
    channels = [alice.create_channel(mode="always") for _ in range(3)]
    with connect(alice, channels=channels) as socket:
        for channel in channels:
            alice.post(channel, "And you?")

        socket.wait_for(
            lambda _frames: all(len(socket.events(channel)) == 2 for channel in channels),
            2 * REPLY_TIMEOUT,
        )

        for channel in channels:
            assert [event["sender"]["kind"] for event in socket.events(channel)] == [
                "user",
                "agent",
            ]
