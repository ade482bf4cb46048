"""Each event of a channel once and in order, whatever arrives when."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.client.events import messages, seqs

from chat_client.channel_log import AHEAD_LIMIT, ChannelLog, Subscribe, Sync

ROOM = 1_000


def live_log(after: int = 0) -> ChannelLog:
    log = ChannelLog(after)
    assert log.ask(ROOM) == Subscribe(after)
    log.subscribed(after, has_more=False)
    return log


def test_it_subscribes_after_what_the_consumer_has() -> None:
    log = ChannelLog(7)

    assert log.ask(ROOM) == Subscribe(7)
    assert log.ask(ROOM) is None


def test_what_is_next_is_handed_on() -> None:
    log = live_log()

    assert seqs(log.pushed(messages(1, 2), ROOM)) == [1, 2]
    assert log.ask(ROOM) is None


def test_repeats_are_dropped() -> None:
    log = live_log()
    log.pushed(messages(1, 2), ROOM)

    assert log.pushed(messages(2, 1), ROOM) == []
    assert seqs(log.pushed(messages(2, 3, 3), ROOM)) == [3]


def test_a_gap_is_asked_for_once() -> None:
    log = live_log()

    assert log.pushed(messages(3), ROOM) == []
    assert log.ask(ROOM) == Sync(0, 100)
    assert log.ask(ROOM) is None
    assert log.pushed(messages(4), ROOM) == []
    assert log.ask(ROOM) is None


def test_what_came_ahead_of_a_gap_follows_what_fills_it() -> None:
    log = live_log()
    log.pushed(messages(3, 4), ROOM)
    log.ask(ROOM)

    assert seqs(log.synced(messages(1, 2), 4, True, ROOM)) == [1, 2, 3, 4]
    assert log.ask(ROOM) is None


def test_a_push_may_fill_a_gap_before_the_answer_does() -> None:
    log = live_log()
    log.pushed(messages(2), ROOM)
    log.ask(ROOM)

    assert seqs(log.pushed(messages(1), ROOM)) == [1, 2]
    assert log.synced(messages(1, 2), 2, False, ROOM) == []
    assert log.ask(ROOM) is None


def test_a_long_gap_is_asked_for_page_by_page() -> None:
    log = live_log()
    log.saw(250)

    asked = []
    while (question := log.ask(ROOM)) is not None:
        assert isinstance(question, Sync)
        asked.append(question.after)
        last = min(250, question.after + question.limit)
        log.synced(messages(*range(question.after + 1, last + 1)), 250, last < 250, ROOM)
    assert asked == [0, 100, 200]
    assert log.position == 250


def test_a_head_shows_a_push_that_got_lost() -> None:
    log = live_log(after=5)

    log.saw(6)

    assert log.ask(ROOM) == Sync(5, 100)


def test_an_ack_that_says_there_is_more_is_followed_by_sync() -> None:
    log = ChannelLog(0)
    log.ask(ROOM)
    log.pushed(messages(*range(1, 11)), ROOM)

    log.subscribed(through=10, has_more=True)

    assert log.ask(ROOM) == Sync(10, 100)


def test_a_replayed_event_that_got_lost_is_asked_for() -> None:
    log = ChannelLog(0)
    log.ask(ROOM)
    log.pushed(messages(1, 3), ROOM)

    log.subscribed(through=3, has_more=False)

    assert log.ask(ROOM) == Sync(1, 100)


def test_after_a_lost_connection_it_subscribes_from_where_it_is() -> None:
    log = live_log()
    log.pushed(messages(1, 2, 4), ROOM)
    log.ask(ROOM)

    log.detached()

    assert log.ask(ROOM) == Subscribe(2)
    assert seqs(log.pushed(messages(3, 4), ROOM)) == [3, 4]


def test_an_ack_of_a_server_that_says_no_more_than_that_will_do() -> None:
    log = ChannelLog(3)
    log.ask(ROOM)

    log.subscribed(through=None, has_more=None)

    assert log.is_live
    assert log.ask(ROOM) is None


def test_a_question_that_failed_is_asked_again() -> None:
    log = live_log()
    log.saw(1)
    log.ask(ROOM)

    log.failed()

    assert log.ask(ROOM) == Sync(0, 100)


def test_a_consumer_who_has_not_caught_up_is_waited_for() -> None:
    log = ChannelLog(0, room_for_sync=10)
    log.ask(20)
    assert len(log.pushed(messages(*range(1, 31)), 20)) == 20
    log.subscribed(through=30, has_more=False)

    assert not log.paused
    assert log.ask(9) is None
    assert log.ask(10) == Sync(20, 10)


def test_a_consumer_who_was_up_to_date_and_reads_no_more_is_too_slow() -> None:
    log = live_log()

    assert seqs(log.pushed(messages(1, 2, 3), 2)) == [1, 2]
    assert log.paused
    assert log.pushed(messages(3), ROOM) == []
    assert log.ask(ROOM) is None


def test_a_consumer_who_reads_again_gets_what_follows() -> None:
    log = live_log()
    log.pushed(messages(1, 2, 3), 2)

    log.resume()

    assert log.ask(ROOM) == Sync(2, 100)
    assert seqs(log.synced(messages(3), 3, False, ROOM)) == [3]


def test_what_waits_ahead_of_a_gap_is_bounded() -> None:
    log = live_log()

    log.pushed(messages(*range(2, 2 * AHEAD_LIMIT)), ROOM)

    assert len(log.pushed(messages(1), ROOM)) == AHEAD_LIMIT + 1
    assert isinstance(log.ask(ROOM), Sync)


@pytest.mark.parametrize("buffered", [20, 1_000])
@given(seed=st.integers(0, 10**9))
def test_whatever_the_line_does_each_event_is_handed_on_once_in_order(
    seed: int, buffered: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    log = ChannelLog(0, room_for_sync=buffered // 2)
    head, waiting = 0, 0
    read: list[int] = []

    def handed(events: list[int]) -> None:
        nonlocal waiting
        read.extend(events)
        waiting += len(events)

    for step in range(400):
        ending = step > 200
        if not ending:
            head += chance.randrange(3)
        match chance.randrange(6):
            case 0 if not ending and chance.random() < 0.1:
                log.detached()
            case 1 | 2:
                sent = [n for n in range(max(1, head - 5), head + 1) if chance.random() < 0.7]
                chance.shuffle(sent)
                handed(seqs(log.pushed(messages(*sent), buffered - waiting)))
            case 3:
                log.saw(head)
            case 4:
                waiting = 0
                log.resume()
            case _:
                question = log.ask(buffered - waiting)
                if isinstance(question, Subscribe):
                    log.subscribed(min(head, question.after + 3), question.after + 3 < head)
                elif isinstance(question, Sync):
                    last = min(head, question.after + question.limit)
                    page = messages(*range(question.after + 1, last + 1))
                    handed(seqs(log.synced(page, head, last < head, buffered - waiting)))

    assert read == list(range(1, head + 1))
