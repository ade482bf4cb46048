"""A worker that waits for its models takes further questions meanwhile (docs/adr/0063)."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from workers_agent.model import Chunk, EndChunk, Prompt, TextChunk
from workers_agent.pace import Pace
from workers_agent.schemas import Delivery

from .conftest import FAST, TEN_TOKENS, Room, Script, ScriptedModel, delivery, says

EAGER = replace(FAST, take=0.01)

NO_REQUEST = Delivery("message-broken", "receipt-broken", None, "agent")


def says_once(is_met: Callable[[], bool]) -> Script:
    """A model that thinks until then."""

    async def script(_prompt: Prompt) -> AsyncGenerator[Chunk]:
        while not is_met():  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(0.01)
        yield TextChunk("Slow.")
        yield EndChunk("stop", TEN_TOKENS)

    return script


def work(room: Room, *deliveries: Delivery, script: Script, pace: Pace = EAGER) -> list[str]:
    """The first question asked of the model meets the script, the others are answered at once."""
    return room.worker(ScriptedModel(script, says("Quick.")), pace=pace).answer(deliveries)


def test_a_question_that_comes_while_a_worker_waits_is_answered_before_what_it_waits_for(
    room: Room,
) -> None:
    slow, quick = room.say("slow"), room.say("quick")
    room.queue.waiting = [delivery(quick)]

    undone = work(room, delivery(slow), script=says_once(lambda: room.has_ended(quick)))

    assert undone == []
    assert [each.data.reply_to for each in room.replies()] == [quick, slow]
    assert room.queue.finished == [delivery(quick), delivery(slow)]


def test_it_writes_no_more_than_ten_at_once_and_goes_on_as_places_become_free(room: Room) -> None:
    slow = [room.say("slow") for _ in range(9)]
    further = [room.say("further") for _ in range(5)]
    room.queue.waiting = [delivery(seq) for seq in further]
    model = ScriptedModel(
        *[says_once(lambda: all(map(room.has_ended, further)))] * 9, says("Quick.")
    )

    undone = room.worker(model, pace=EAGER).answer([delivery(seq) for seq in slow])

    assert undone == []
    assert room.queue.asked_for[:5] == [1] * 5
    assert [each.request for each in room.queue.finished[:5]] == [
        delivery(seq).request for seq in further
    ]


def test_what_it_took_last_is_seen_to_its_end(room: Room) -> None:
    quick, slow = room.say("quick"), room.say("slow")
    room.queue.waiting = [delivery(slow)]
    scripts = [says_once(lambda: not room.queue.waiting), says_once(lambda: room.has_ended(quick))]

    assert room.worker(ScriptedModel(*scripts), pace=EAGER).answer([delivery(quick)]) == []

    assert [each.data.reply_to for each in room.replies()] == [quick, slow]


def test_it_takes_no_more_once_its_time_might_not_do(room: Room) -> None:
    slow = room.say("slow")
    room.queue.waiting = [delivery(room.say("quick"))]

    looks = iter(range(10))
    work(
        room,
        delivery(slow),
        script=says_once(lambda: next(looks, None) is None),
        pace=replace(EAGER, taking=0.0),
    )

    assert len(room.queue.waiting) == 1


def test_what_it_could_not_do_is_left_in_the_queue_and_hidden_no_longer(room: Room) -> None:
    slow = room.say("slow")
    room.queue.waiting = [NO_REQUEST]

    def is_hidden_alone() -> bool:
        receipts, _seconds = room.queue.hidden[-1]
        return not room.queue.waiting and receipts == [delivery(slow).receipt_handle]

    undone = work(
        room,
        delivery(slow),
        script=says_once(is_hidden_alone),
        pace=replace(EAGER, hidden=0),
    )

    assert undone == []
    assert room.queue.finished == [delivery(slow)]


def test_a_question_of_its_batch_that_it_could_not_do_is_seen_again_before_the_others_end(
    room: Room,
) -> None:
    slow = room.say("slow")

    def is_hidden_alone() -> bool:
        return room.queue.hidden[-1][0] == [delivery(slow).receipt_handle]

    undone = work(
        room,
        NO_REQUEST,
        delivery(slow),
        script=says_once(is_hidden_alone),
        pace=replace(EAGER, hidden=0),
    )

    assert undone == [NO_REQUEST.message_id]


def test_one_of_its_batch_that_is_done_is_taken_out_while_others_are_written(room: Room) -> None:
    slow, quick = room.say("slow"), room.say("quick")

    work(
        room,
        delivery(slow),
        delivery(quick),
        script=says_once(lambda: bool(room.queue.finished)),
    )

    assert room.queue.finished == [delivery(quick), delivery(slow)]


def test_a_batch_without_a_question_takes_none(room: Room) -> None:
    room.queue.waiting = [delivery(room.say("Hello"))]

    assert room.worker(ScriptedModel(says("Hi.")), pace=EAGER).answer([]) == []

    assert len(room.queue.waiting) == 1
