"""The handler on the events that the queue mapping sends, to tables, sockets and a model."""

from tests.doubles.queue_records import queue_record

from commons import keys
from commons.dal import Table

from .conftest import Room


def test_the_models_words_reach_the_log_and_the_socket(room: Room) -> None:
    room.listen()
    seq = room.say("Why is the sky blue?")

    assert room.hand_over(room.record(seq)) == []

    (reply,) = room.replies()
    assert "“Why is the sky blue?" in reply.data.text
    assert reply.data.finish_reason == "stop"
    assert reply.data.usage is not None
    assert reply.data.usage.model_id == "eu.demo.scripted-v1:0"
    assert reply.data.usage.output_tokens > 10
    frames = room.frames()
    assert [frame["index"] for frame in frames] == list(range(len(frames)))
    assert "".join(str(frame["text"]) for frame in frames) == reply.data.text


def test_deltas_reach_the_socket_while_the_model_still_speaks(room: Room) -> None:
    room.listen()
    room.model.tell({"wordDelayMs": 30})
    seq = room.say("Slowly, please.")

    room.hand_over(room.record(seq))

    assert len(room.frames()) > 5


def test_a_message_handed_over_twice_is_paid_for_once(room: Room) -> None:
    seq = room.say("Hello")

    room.hand_over(room.record(seq))
    assert room.hand_over(room.record(seq)) == []

    assert len(room.replies()) == 1
    assert len(room.model.asked()) == 1


def test_the_correlation_id_of_the_request_is_on_the_reply(room: Room) -> None:
    seq = room.say("Hello")

    room.hand_over(room.record(seq))

    stored = room.repository.get(Table.CHAT_EVENTS, keys.event_key(room.channel_id, seq + 1))
    assert stored["correlation_id"] == "correlation-1"


def test_a_poison_body_is_handed_over_again_until_it_is_laid_aside(room: Room) -> None:
    poison = queue_record("poison", "not json", queue="chat-test-agent")
    seq = room.say("Hello")

    assert room.hand_over(poison, room.record(seq)) == ["poison"]

    assert len(room.replies()) == 1
