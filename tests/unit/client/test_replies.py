"""Deltas in any state become text that only grows, and is the final text."""

import random

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.client.events import AT, message

from chat_client import AgentFailed, Delta, Sender
from chat_client.frames import DeltaFrame
from chat_client.models import AgentFailedData
from chat_client.replies import ENDED_LIMIT, OPEN_LIMIT, Replies


def frame(
    index: int, text: str, *, snapshot: bool = False, reply_to: int = 1, generation: int = 1
) -> DeltaFrame:
    return DeltaFrame(
        type="delta",
        channel_id="room",
        reply_to=reply_to,
        generation=generation,
        index=index,
        text=text,
        snapshot=snapshot,
    )


def shown(deltas: list[Delta]) -> str:
    text = ""
    for delta in deltas:
        text = delta.text if delta.snapshot else text + delta.text
        assert text == delta.content
    return text


def test_pieces_in_order_add_up() -> None:
    replies = Replies("room")

    deltas = [*replies.take(frame(0, "Hel")), *replies.take(frame(1, "lo"))]

    assert [delta.text for delta in deltas] == ["Hel", "lo"]
    assert shown(deltas) == "Hello"


def test_pieces_out_of_order_and_repeated_add_up() -> None:
    replies = Replies("room")

    deltas = [
        delta
        for piece in (frame(1, "l"), frame(0, "Hel"), frame(0, "Hel"), frame(1, "l"), frame(2, "o"))
        for delta in replies.take(piece)
    ]

    assert shown(deltas) == "Hello"
    assert not any(delta.snapshot for delta in deltas)


def test_a_snapshot_that_goes_on_is_a_piece_like_any_other() -> None:
    replies = Replies("room")
    first = replies.take(frame(0, "Hel"))

    (second,) = replies.take(frame(5, "Hello wor", snapshot=True))
    third = replies.take(frame(6, "ld"))

    assert (second.text, second.snapshot) == ("lo wor", False)
    assert shown([*first, second, *third]) == "Hello world"


def test_a_snapshot_of_another_text_starts_anew() -> None:
    replies = Replies("room")
    first = replies.take(frame(0, "Hel"))

    (second,) = replies.take(frame(9, "Good day", snapshot=True))

    assert second.snapshot
    assert shown([*first, second]) == "Good day"


def test_an_old_snapshot_changes_nothing() -> None:
    replies = Replies("room")
    for index, text in enumerate("abc"):
        replies.take(frame(index, text))

    assert replies.take(frame(1, "ab", snapshot=True)) == []


def test_after_the_final_event_nothing_comes() -> None:
    replies = Replies("room")
    replies.take(frame(0, "Hello"))

    assert replies.ended(message(2, "Hello", replyTo=1, generation=1)) == []
    assert replies.take(frame(1, " again")) == []
    assert shown(replies.take(frame(0, "Anew", generation=2))) == "Anew"


def test_what_was_missed_comes_with_the_final_event() -> None:
    replies = Replies("room")
    first = replies.take(frame(0, "Hel"))
    assert replies.take(frame(2, "wor")) == []

    last = replies.ended(message(2, "Hello world", replyTo=1, generation=1))

    assert shown([*first, *last]) == "Hello world"


def test_a_failed_reply_ends_without_a_piece() -> None:
    replies = Replies("room")
    replies.take(frame(0, "Hel"))
    failed = AgentFailed(
        channel_id="room",
        seq=2,
        created_at=AT,
        sender=Sender(id="#agent", kind="agent"),
        data=AgentFailedData(target=1, generation=1, reason="timeout"),
    )

    assert replies.ended(failed) == []
    assert replies.take(frame(1, "lo")) == []


def test_a_history_of_replies_makes_no_pieces() -> None:
    replies = Replies("room")

    assert replies.ended(message(2, "Hello", replyTo=1, generation=1)) == []


def test_who_joins_in_the_middle_gets_what_is_written() -> None:
    replies = Replies("room")
    replies.take(frame(0, "Hel"))
    replies.take(frame(1, "lo"))

    (joined,) = replies.open_deltas()

    assert (joined.text, joined.content, joined.index) == ("Hello", "Hello", 1)


def test_what_is_remembered_is_bounded() -> None:
    replies = Replies("room")

    for number in range(1, OPEN_LIMIT + 10):
        replies.take(frame(0, "x", reply_to=number))
    for number in range(1, ENDED_LIMIT + 10):
        replies.ended(message(number + 1, "x", replyTo=number, generation=1))
    for index in range(2, 10_000):
        replies.take(frame(index, "x", reply_to=1_000_000))

    assert len(replies.open_deltas()) <= OPEN_LIMIT
    assert len(replies._ended) == ENDED_LIMIT
    assert len(replies._open[1_000_000, 1].early) < 100


@given(
    pieces=st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=40),
    seed=st.integers(0, 10**9),
)
def test_whatever_the_line_does_the_pieces_are_the_final_text(pieces: list[str], seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    frames = [frame(index, text) for index, text in enumerate(pieces)]
    frames += [
        frame(index, "".join(pieces[: index + 1]), snapshot=True)
        for index in range(len(pieces))
        if chance.random() < 0.1
    ]
    sent = [piece for piece in frames for _ in range(chance.randrange(3))]
    sent.sort(key=lambda piece: piece.index + chance.uniform(0, 4))
    replies = Replies("room")
    deltas = [delta for piece in sent for delta in replies.take(piece)]

    deltas += replies.ended(message(2, "".join(pieces), replyTo=1, generation=1))

    assert not deltas or shown(deltas) == "".join(pieces)
    assert not any(delta.snapshot for delta in deltas)
