"""The agent on the running stack: one end for every question, whatever the model does."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from statistics import quantiles

import pytest
from tests.e2e.clients import REPLY_TIMEOUT, Json, RestClient, Socket, eventually, spoken

from commons.services.crowding import PLACES
from devstack.local_stack import LocalStack

type Connect = Callable[..., AbstractContextManager[Socket]]

MANY = PLACES + 5

MODEL_ERROR_MARK = "demo-model-internal-error"
"""Stands in every error text that the demo model makes up."""


@pytest.fixture
def openai_protocol(local_stack: LocalStack) -> Iterator[None]:
    """The same demo model, asked by OpenAI's protocol: as with `CHAT_MODEL_URL`."""
    server = local_stack._model.running()
    assert server is not None
    told = {"model_url": f"http://127.0.0.1:{server.port}/v1", "model": "scripted-demo"}
    LocalStack(local_stack.config.model_copy(update=told)).up()
    yield
    local_stack.up()


def ends(socket: Socket, channel: str, question: int) -> list[Json]:
    """The replies and failures that a question has come to so far."""
    return [
        event
        for event in socket.events(channel)
        if event["sender"]["kind"] == "agent"
        and question in (event["data"].get("replyTo"), event["data"].get("target"))
    ]


def wait_for_end(
    socket: Socket, channel: str, question: int, timeout: float = REPLY_TIMEOUT
) -> Json:
    socket.wait_for(lambda _frames: bool(ends(socket, channel, question)), timeout)
    return ends(socket, channel, question)[0]


def text_of_generation(socket: Socket, channel: str, end: Json) -> str:
    generation = end["data"]["generation"]
    deltas = socket.deltas(channel, end["data"]["replyTo"])
    return spoken([delta for delta in deltas if delta["generation"] == generation])


@pytest.mark.alone
def test_twenty_channels_are_answered_at_once_and_hold_no_delivery_back(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channels = [alice.create_channel(mode="always") for _ in range(20)]
    plain = bob.create_channel(mode="off")
    with (
        connect(alice, channels=channels) as socket,
        connect(bob, channels=[plain]) as listener,
        ThreadPoolExecutor(20) as pool,
    ):
        warm = [alice.create_channel(mode="always") for _ in range(10)]
        list(pool.map(lambda each: alice.post(each, "Are you awake?"), warm))
        time.sleep(6)

        started = time.monotonic()
        asked = "[[demo total_ms=3000]] How long does this take?"
        list(pool.map(lambda each: alice.post(each, asked), channels))
        delays = []
        while not all(ends(socket, each, 1) for each in channels):
            assert time.monotonic() - started < 2 * REPLY_TIMEOUT, "a reply is missing"
            sent = time.monotonic()
            seq = bob.post(plain, "plain")["seq"]
            listener.wait_for_events(plain, seq)
            delays.append(time.monotonic() - sent)
            time.sleep(0.1)
        took = time.monotonic() - started

        assert took < 9
        assert quantiles(delays, n=20)[-1] < 1
        for channel in channels:
            (reply,) = ends(socket, channel, 1)
            assert text_of_generation(socket, channel, reply) == reply["data"]["text"]


@pytest.mark.alone
def test_more_questions_at_once_than_a_channel_has_places_are_all_answered(
    alice: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel(mode="always")
    with (
        connect(alice, channels=[channel]) as socket,
        ThreadPoolExecutor(MANY) as pool,
    ):
        text = "[[demo total_ms=3000]] Is there room for me, too?"
        asked = [each["seq"] for each in pool.map(alice.post, [channel] * MANY, [text] * MANY)]

        for question in asked:
            end = wait_for_end(socket, channel, question, 2 * REPLY_TIMEOUT)
            assert end["data"]["finishReason"] == "stop"

    events = alice.events(channel)
    assert len(events) == 2 * MANY
    assert alice.call("GET", f"/channels/{channel}/generations", 200).json() == {"items": []}


@pytest.mark.alone
@pytest.mark.rare
def test_a_question_is_answered_while_every_worker_waits_for_a_slow_model(
    alice: RestClient, connect: Connect
) -> None:
    slow = [alice.create_channel(mode="always") for _ in range(3)]
    other = alice.create_channel(mode="always")
    with connect(alice, channels=[other]) as socket:
        # One by one, so that each has a worker, until more are written than there are workers.
        for count in range(1, 11):
            for channel in slow:
                alice.post(channel, "[[demo total_ms=110000]] Take your time.")
                wait_until_written(alice, channel, count)
        asked = alice.post(other, "[[demo total_ms=1000]] Are you there?")["seq"]

        assert wait_for_end(socket, other, asked)["data"]["finishReason"] == "stop"

    for channel in slow:
        assert replies_being_written(alice, channel) == 10
        alice.call("POST", f"/channels/{channel}/generations/cancel", 202, json={})
        wait_until_written(alice, channel, 0)


def replies_being_written(member: RestClient, channel: str) -> int:
    answer = member.call("GET", f"/channels/{channel}/generations", 200).json()
    return sum(each["status"] == "running" for each in answer["items"])


def wait_until_written(member: RestClient, channel: str, count: int) -> None:
    eventually(lambda: replies_being_written(member, channel) == count)


RECOVERS = "message.created"


@pytest.mark.parametrize(
    "protocol", ["bedrock", pytest.param("openai", marks=[pytest.mark.alone, pytest.mark.rare])]
)
def test_whatever_the_model_does_a_question_comes_to_one_end(
    request: pytest.FixtureRequest,
    alice: RestClient,
    connect: Connect,
    protocol: str,
) -> None:
    if protocol == "openai":
        request.getfixturevalue("openai_protocol")
    expected = {
        "do=error status=500 times=1": RECOVERS,
        "do=error status=500 times=2": RECOVERS,
        "do=error status=500": "model_error",
        "do=error status=429 times=1": RECOVERS,
        "do=error status=429": "throttled",
        "do=error status=400": "model_error",
        "do=break after_words=4 times=1": RECOVERS,
        "do=break after_words=4": "model_error",
        "do=empty times=1": RECOVERS,
        "do=empty": "empty",
        "do=hang after_words=2": "timeout",
        "do=stream_error exception=throttlingException times=1 after_words=3": RECOVERS,
        "do=stream_error exception=throttlingException": "throttled",
        "do=stream_error exception=modelStreamErrorException times=2": RECOVERS,
        "do=stream_error exception=modelTimeoutException times=1": RECOVERS,
        "do=answer finish=length": RECOVERS,
    }
    with ExitStack() as stack:
        channels = {told: alice.create_channel(mode="always") for told in expected}
        socket = stack.enter_context(connect(alice, channels=list(channels.values())))
        for told, channel in channels.items():
            alice.post(channel, f"[[demo word_delay_ms=30 {told}]] How are you?")
        came = {}
        for told, channel in channels.items():
            end = wait_for_end(socket, channel, 1, 90)
            came[told] = end["data"].get("reason", end["type"])
        time.sleep(3)

        assert came == expected
        for channel in channels.values():
            (end,) = ends(socket, channel, 1)
            assert len(alice.events(channel)) == 2
            if end["type"] == "message.created":
                assert text_of_generation(socket, channel, end) == end["data"]["text"]
        assert MODEL_ERROR_MARK not in json.dumps(socket.frames)


@pytest.mark.parametrize(
    ("mode", "text", "answered"),
    [
        ("off", "hello @agent", False),
        ("mention", "hello everybody", False),
        ("mention", "mail me at x@agents.example", False),
        ("mention", "hello @Agent, what now?", True),
    ],
)
def test_the_agent_answers_as_its_mode_says(
    alice: RestClient, connect: Connect, mode: str, text: str, answered: bool
) -> None:
    channel = alice.create_channel(mode=mode)
    with connect(alice, channels=[channel]) as socket:
        alice.post(channel, f"{text} [[demo word_delay_ms=0]]")
        if answered:
            assert wait_for_end(socket, channel, 1)["type"] == "message.created"
        else:
            time.sleep(3)
            assert [event["sender"]["kind"] for event in alice.events(channel)] == ["user"]


def test_the_agent_does_not_answer_itself(alice: RestClient, connect: Connect) -> None:
    channel = alice.create_channel(mode="always")
    with connect(alice, channels=[channel]) as socket:
        alice.post(channel, "Talk to yourself [[demo word_delay_ms=0]]")
        wait_for_end(socket, channel, 1)
        time.sleep(3)

        assert [event["sender"]["kind"] for event in alice.events(channel)] == ["user", "agent"]


@pytest.mark.alone
def test_a_cancelled_reply_ends_within_two_seconds_with_what_was_written(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel("bob", mode="always")
    with connect(alice, channels=[channel]) as socket:
        alice.post(channel, "[[demo total_ms=20000]] Tell me everything")
        socket.wait_for(lambda _frames: len(socket.deltas(channel, 1)) >= 3)

        cancelled = time.monotonic()
        bob.call("POST", f"/channels/{channel}/generations/cancel", 202, json={"replyTo": 1})
        end = wait_for_end(socket, channel, 1)
        took = time.monotonic() - cancelled

        assert end["data"]["finishReason"] == "cancelled"
        assert end["data"]["text"]
        assert text_of_generation(socket, channel, end) == end["data"]["text"]
        assert took < 2


def test_a_reply_is_cancelled_over_the_socket(alice: RestClient, connect: Connect) -> None:
    channel = alice.create_channel(mode="always")
    with connect(alice, channels=[channel]) as socket:
        alice.post(channel, "[[demo total_ms=20000]] Tell me everything")
        socket.wait_for(lambda _frames: len(socket.deltas(channel, 1)) >= 1)

        assert socket.ask("cancel", channelId=channel)["type"] == "ack"

        assert wait_for_end(socket, channel, 1)["data"]["finishReason"] == "cancelled"


def test_a_reply_is_regenerated_for_the_same_question(alice: RestClient, connect: Connect) -> None:
    channel = alice.create_channel(mode="always")
    with connect(alice, channels=[channel]) as socket:
        alice.post(channel, "Again and again [[demo word_delay_ms=0]]")
        first = wait_for_end(socket, channel, 1)
        regenerate = f"/channels/{channel}/messages/{first['seq']}/regenerate"
        alice.call("POST", regenerate, 202)
        socket.wait_for(lambda _frames: len(ends(socket, channel, 1)) == 2)

        assert [end["data"]["generation"] for end in ends(socket, channel, 1)] == [1, 2]
        alice.call("POST", f"/channels/{channel}/messages/1/regenerate", 422)


def test_who_subscribes_in_the_middle_of_a_reply_gets_all_of_it(
    alice: RestClient, bob: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel("bob", mode="always")
    with connect(alice, channels=[channel]) as early:
        alice.post(channel, "[[demo total_ms=6000]] What is this about?")
        early.wait_for(lambda _frames: len(early.deltas(channel, 1)) >= 5)
        with connect(bob) as late:
            late.ask("subscribe", channelId=channel, after=0)
            end = wait_for_end(late, channel, 1)

            deltas = late.deltas(channel, 1)
            assert deltas[0]["snapshot"] is True
            assert len(deltas) > 2
            indexes = [delta["index"] for delta in deltas]
            assert indexes == list(range(indexes[0], indexes[0] + len(indexes)))
            assert spoken(deltas) == end["data"]["text"]
            assert [event["seq"] for event in late.events(channel)] == [1, 2]


def test_a_question_that_is_deleted_takes_its_reply_with_it(
    alice: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel(mode="always")
    with connect(alice, channels=[channel]) as socket:
        alice.post(channel, "[[demo total_ms=20000]] Never mind")
        socket.wait_for(lambda _frames: len(socket.deltas(channel, 1)) >= 1)

        alice.call("DELETE", f"/channels/{channel}/messages/1", 204)

        assert wait_for_end(socket, channel, 1)["data"]["finishReason"] == "cancelled"


@pytest.mark.alone
@pytest.mark.rare
def test_a_reply_outlives_the_worker_that_wrote_it(
    local_stack: LocalStack, alice: RestClient, connect: Connect
) -> None:
    channel = alice.create_channel(mode="always")
    with connect(alice, channels=[channel]) as socket:
        alice.post(channel, "[[demo total_ms=8000]] Will you live?")
        socket.wait_for(lambda _frames: len(socket.deltas(channel, 1)) >= 5)

        killed = local_stack.workers_of("workers_agent")
        for worker in killed:
            worker.kill()
        end = wait_for_end(socket, channel, 1, 90)
        time.sleep(3)

        assert killed
        assert end["type"] == "message.created"
        assert end["data"]["finishReason"] == "stop"
        assert text_of_generation(socket, channel, end) == end["data"]["text"]
        assert len(ends(socket, channel, 1)) == 1
        assert len(alice.events(channel)) == 2
