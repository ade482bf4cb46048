"""What who listens hears of a reply while it is written."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field, replace

import pytest

from commons.dal import Table
from commons.realtime.broadcaster import Outcome, Post, Revalidate
from commons.records.connection import Removals, Subscription
from commons.schemas.generation import GenerationRequest
from workers_agent.model import Chunk, EndChunk, Prompt, TextChunk
from workers_agent.services.deltas import DeltaBroadcast

from .conftest import (
    CHANNEL,
    FAST,
    TEN_TOKENS,
    RecordingBroadcaster,
    Room,
    ScriptedModel,
    delivery,
    says,
)

type InBackground = Callable[[Callable[[], object]], threading.Thread]


def test_all_text_in_order_is_exactly_the_reply(room: Room) -> None:
    room.listen("one")
    room.listen("two", "bob")
    seq = room.say("Hello")

    room.answer(ScriptedModel(says(*[f"word{n} " for n in range(40)], delay=0.005)), seq)

    reply = room.replies()[0].data.text
    for connection_id in ("one", "two"):
        frames = room.broadcaster.frames(connection_id)
        assert [frame["index"] for frame in frames] == list(range(len(frames)))
        assert "".join(str(frame["text"]) for frame in frames) == reply
        assert not any("snapshot" in frame for frame in frames)


def test_a_delta_says_which_reply_it_is_of(room: Room) -> None:
    room.listen("socket")
    seq = room.say("Hello")

    room.answer(ScriptedModel(says("Hi.")), seq)

    assert room.broadcaster.frames("socket") == [
        {
            "type": "delta",
            "channelId": CHANNEL,
            "replyTo": seq,
            "generation": 1,
            "index": 0,
            "text": "Hi.",
        }
    ]


def test_the_first_word_goes_out_at_once_and_the_others_wait_for_their_turn(room: Room) -> None:
    room.listen("socket")
    seq = room.say("Hello")
    slow = replace(FAST, frame=0.2)
    worker = room.worker(ScriptedModel(says(*["w "] * 30, delay=0.01)), pace=slow)

    began = time.monotonic()
    worker.answer([delivery(seq)])
    frames_due = (time.monotonic() - began) / slow.frame

    frames = room.broadcaster.frames("socket")
    assert frames[0]["text"] == "w "
    assert len(frames) <= frames_due + 2


def test_a_full_room_hears_fewer_frames(room: Room) -> None:
    for number in range(20):
        room.listen(f"socket-{number}")
    seq = room.say("Hello")
    crowded = replace(FAST, frame=0.001, frames_per_second=100.0)
    worker = room.worker(ScriptedModel(says(*["w "] * 50, delay=0.01)), pace=crowded)

    began = time.monotonic()
    worker.answer([delivery(seq)])
    frames_due = 5 * (time.monotonic() - began)

    assert len(room.broadcaster.frames("socket-0")) <= frames_due + 2
    assert room.broadcaster.text("socket-0") == room.replies()[0].data.text


def test_nobody_listening_costs_no_frame(room: Room) -> None:
    seq = room.say("Hello")

    room.answer(ScriptedModel(says("Hi.")), seq)

    assert room.broadcaster.moments == []


def test_who_comes_in_the_middle_gets_all_that_was_written_first(
    room: Room, in_background: InBackground
) -> None:
    room.listen("early")
    seq = room.say("Hello")
    model = ScriptedModel(says(*[f"word{n} " for n in range(30)], delay=0.02))
    worker = room.worker(model)
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while len(room.broadcaster.frames("early")) < 5:
        time.sleep(0.01)

    room.listen("late", "bob")
    answering.join()

    frames = room.broadcaster.frames("late")
    assert frames[0]["snapshot"] is True
    assert str(frames[0]["text"]).startswith("word0 ")
    reply = room.replies()[0].data.text
    assert room.broadcaster.text("late") == reply
    assert room.broadcaster.text("early") == reply
    assert [frame for frame in frames[1:] if "snapshot" in frame] == []


def test_who_comes_while_the_model_is_silent_is_greeted_at_once(
    room: Room, in_background: InBackground
) -> None:
    room.listen("early")
    seq = room.say("Hello")
    worker = room.worker(ScriptedModel(says("Well, ", "yes.", delay=0.4)))
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while not room.broadcaster.frames("early"):
        time.sleep(0.01)

    room.listen("late", "bob")
    answering.join()

    assert room.broadcaster.frames("late")[0] == {
        "type": "delta",
        "channelId": CHANNEL,
        "replyTo": seq,
        "generation": 1,
        "index": 0,
        "text": "Well, ",
        "snapshot": True,
    }


def test_who_left_hears_nothing_more(room: Room, in_background: InBackground) -> None:
    room.listen("leaving", "bob")
    room.listen("staying")
    seq = room.say("Hello")
    worker = room.worker(ScriptedModel(says(*["w "] * 40, delay=0.02)))
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while len(room.broadcaster.frames("staying")) < 3:
        time.sleep(0.01)

    room.connections.remove_user(CHANNEL, "bob")
    time.sleep(0.15)
    heard = len(room.broadcaster.frames("leaving"))
    answering.join()

    assert len(room.broadcaster.frames("leaving")) == heard
    assert len(room.broadcaster.frames("staying")) > heard


def test_a_connection_that_is_gone_is_forgotten(room: Room) -> None:
    room.listen("gone")
    room.broadcaster.gone.add("gone")
    item = {
        "channel_id": "conn#gone",
        "sk": "-",
        "connection_id": "gone",
        "user_id": "alice",
        "token_expires_at": 2**40,
        "expires_at": 2**40,
        "connected_at": 0,
        "channels": frozenset({CHANNEL}),
    }
    room.repository.put(Table.CONNECTIONS, item)
    seq = room.say("Hello")

    room.answer(ScriptedModel(says("Hi.")), seq)

    assert room.connections.subscriptions(CHANNEL) == []


def test_who_missed_a_frame_gets_a_snapshot_instead_of_a_hole(
    room: Room, in_background: InBackground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers_agent.services.deltas.QUIET_SECONDS", 0.05)
    room.listen("shaky")
    room.listen("steady", "bob")
    room.broadcaster.failing.add("shaky")
    seq = room.say("Hello")
    worker = room.worker(ScriptedModel(says(*[f"word{n} " for n in range(40)], delay=0.02)))
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while len(room.broadcaster.frames("steady")) < 5:
        time.sleep(0.01)

    room.broadcaster.failing.clear()
    answering.join()

    assert room.broadcaster.frames("shaky")[0]["snapshot"] is True
    assert room.broadcaster.text("shaky") == room.replies()[0].data.text


@dataclass
class StumblingBroadcaster(RecordingBroadcaster):
    """Fails with each connection's frames as often as it is told."""

    stumbles: dict[str, int] = field(default_factory=dict)

    def send(
        self,
        posts: Iterable[Post],
        *,
        budget_seconds: float = 10.0,
        revalidate: Revalidate | None = None,
    ) -> Outcome:
        posts = list(posts)
        self.failing = {post.connection_id for post in posts if self._stumbles(post.connection_id)}
        return super().send(posts, budget_seconds=budget_seconds, revalidate=revalidate)

    def _stumbles(self, connection_id: str) -> bool:
        left = self.stumbles.get(connection_id, 0)
        self.stumbles[connection_id] = left - 1
        return left > 0


@pytest.mark.parametrize("words", [["Hi."], ["Hi ", "there, ", "you."]])
def test_who_missed_a_push_near_the_end_gets_the_tail(room: Room, words: list[str]) -> None:
    room.listen("shaky")
    room.listen("steady", "bob")
    broadcaster = StumblingBroadcaster(stumbles={"shaky": 2})
    seq = room.say("Hello")
    worker = room.worker(ScriptedModel(says(*words, delay=0.02)), broadcaster=broadcaster)

    worker.answer([delivery(seq)])

    assert broadcaster.frames("shaky")[0]["snapshot"] is True
    assert broadcaster.text("shaky") == "".join(words)
    assert broadcaster.text("steady") == "".join(words)


def test_a_connection_that_takes_nothing_holds_no_reply_up_for_long(room: Room) -> None:
    room.listen("shaky")
    room.broadcaster.failing.add("shaky")
    seq = room.say("Hello")

    started = time.monotonic()
    room.answer(ScriptedModel(says("Hi.")), seq)

    assert FAST.last_deltas <= time.monotonic() - started < FAST.last_deltas + 2.0
    assert len(room.broadcaster.moments) < 10


def test_pushes_that_failed_are_counted_in_the_log(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.listen("shaky")
    room.broadcaster.failing.add("shaky")
    seq = room.say("Hello")

    room.answer(ScriptedModel(says("A secret.")), seq)

    failed = [record for record in caplog.records if record.message == "deltas not taken"]
    assert failed
    assert getattr(failed[0], "failed", None) == 1
    assert "secret" not in caplog.text


def test_everybody_in_a_full_room_hears_something_while_it_is_written(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers_agent.services.deltas.AUDIENCE_SECONDS", 0.0)
    listeners = {f"socket-{number:02}" for number in range(60)}
    for connection_id in listeners:
        room.listen(connection_id)
    seq = room.say("Hello")
    silent: set[str] = set()

    async def speaks_until_all_have_heard(_prompt: Prompt) -> AsyncGenerator[Chunk]:
        # As long as it takes, however busy the machine is: at the end everybody is told anyway.
        nonlocal silent
        silent = listeners
        while silent:
            yield TextChunk("w ")
            await asyncio.sleep(0.02)
            silent = listeners - {connection_id for connection_id, _ in room.broadcaster.heard}
        yield EndChunk("stop", TEN_TOKENS)

    crowded = replace(FAST, frames_per_second=100.0, post=0.1, look=0.3)
    worker = room.worker(ScriptedModel(speaks_until_all_have_heard), pace=crowded)

    worker.answer([delivery(seq)])

    assert silent == set()


def test_whoever_left_is_not_told_from_an_old_list(
    room: Room, in_background: InBackground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers_agent.services.deltas.AUDIENCE_SECONDS", 0.0)
    room.listen("leaving", "bob")
    room.listen("staying")
    seq = room.say("Hello")
    rarely = replace(FAST, look=30.0)
    worker = room.worker(ScriptedModel(says(*["w "] * 40, delay=0.02)), pace=rarely)
    answering = in_background(lambda: worker.answer([delivery(seq)]))
    while len(room.broadcaster.frames("staying")) < 3:
        time.sleep(0.01)

    room.connections.remove_user(CHANNEL, "bob")
    heard = len(room.broadcaster.frames("leaving"))
    time.sleep(0.1)
    answering.join()

    assert len(room.broadcaster.frames("leaving")) <= heard + 1
    assert len(room.broadcaster.frames("staying")) > heard + 1


def test_nobody_in_a_full_room_lacks_the_end_of_a_short_reply(room: Room) -> None:
    for number in range(300):
        room.listen(f"socket-{number:03}", f"user-{number:03}")
    seq = room.say("Hello")
    crowded = replace(FAST, frames_per_second=100.0, post=0.1)
    worker = room.worker(ScriptedModel(says(*["w "] * 20, delay=0.01)), pace=crowded)

    worker.answer([delivery(seq)])

    reply = room.replies()[0].data.text
    assert all(room.broadcaster.text(f"socket-{n:03}") == reply for n in range(300))


def test_the_end_of_a_reply_waits_for_a_full_room_as_long_as_a_worker_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    async def wait(_tasks: object, **options: float) -> None:
        waits.append(options["timeout"])

    monkeypatch.setattr("workers_agent.services.deltas.asyncio.wait", wait)
    for listeners in (10, 4_000, 10_000):
        asyncio.run(finish_with(listeners))

    assert [round(each, 2) for each in waits] == [0.3, 1.3, 2.0]


async def finish_with(listeners: int) -> None:
    request = GenerationRequest(channel_id=CHANNEL, question_seq=1, generation=1)
    row = Subscription(
        channel_id=CHANNEL,
        connection_id="c",
        user_id="u",
        state="live",
        expires_at=2**40,
        connected_at=0,
    )

    class Audience:
        def subscriptions(self, _channel_id: str) -> list[Subscription]:
            return [row.model_copy(update={"connection_id": f"c{n}"}) for n in range(listeners)]

        def removed_since(self, _channel_id: str, _began_at: int) -> Removals:
            return Removals()

        def forget(self, connection_id: str) -> None:
            raise AssertionError(connection_id)

    deltas = DeltaBroadcast(request, Audience(), RecordingBroadcaster(), pace=FAST)
    await deltas._take_audience()
    deltas._tasks = [asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(asyncio.sleep(0))]
    await deltas.finish(0.3)
    await deltas.stop()


async def told_while_it_is_held(room: Room) -> list[dict[str, object]]:
    seq = room.say("Hello")
    request = GenerationRequest(channel_id=CHANNEL, question_seq=seq, generation=1)
    deltas = DeltaBroadcast(request, room.connections, room.broadcaster, pace=FAST)
    deltas.hold()
    deltas.add("a text")
    deltas.start()
    await asyncio.sleep(0.2)
    before = list(room.broadcaster.frames("socket"))
    await deltas.finish(1.0)
    await deltas.stop()
    return before


def test_a_reply_that_is_being_ended_is_told_when_it_has_ended(room: Room) -> None:
    room.listen("socket")

    before = asyncio.run(told_while_it_is_held(room))

    assert before == []
    assert room.broadcaster.text("socket") == "a text"
