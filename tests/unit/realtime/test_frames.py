import json

import pytest

from commons.realtime import encoded_frames
from commons.schemas.event import (
    Event,
    MessageCreated,
    MessageCreatedData,
    Sender,
)


def message(seq: int, text: str, **data: object) -> Event:
    return MessageCreated(
        channel_id="C" * 22,
        seq=seq,
        created_at="2026-01-01T00:00:00.000Z",
        sender=Sender(id="alice", name="Alice", kind="user"),
        data=MessageCreatedData.model_validate({"text": text, **data}),
    )


def test_events_that_fit_are_one_frame_in_the_order_given() -> None:
    items = [message(seq, f"text {seq}") for seq in range(1, 11)]

    (frame,) = encoded_frames.events(items)

    assert json.loads(frame) == {"type": "events", "events": [item.to_wire() for item in items]}


def test_no_events_are_no_frame() -> None:
    assert encoded_frames.events([]) == ()


def test_a_frame_is_unescaped_utf_8() -> None:
    (frame,) = encoded_frames.events([message(1, "grüße 🦊")])

    assert "grüße 🦊".encode() in frame


@pytest.mark.parametrize("character", ["a", "🦊", "\x01", '"'])
def test_events_past_128_kb_are_split_with_none_larger_and_none_lost(character: str) -> None:
    items = [message(seq, character * 16_000) for seq in range(1, 13)]

    packed = encoded_frames.events(items)

    assert all(len(frame) <= 131_072 for frame in packed)
    seqs = [event["seq"] for frame in packed for event in json.loads(frame)["events"]]
    assert seqs == list(range(1, 13))


def test_frames_are_as_few_as_fit() -> None:
    size = len(encoded_frames.event_json(message(1, "")))
    exactly_half = (131_072 - len(b'{"type":"events","events":[,]}')) // 2
    two = [b"x" * exactly_half, b"y" * exactly_half]
    assert size < exactly_half

    assert len(encoded_frames.pack_events(two)) == 1
    assert len(encoded_frames.pack_events([two[0] + b"xx", two[1]])) == 2


def test_the_largest_event_of_the_contract_fits_a_frame() -> None:
    widest = message(10**12, "\x01" * 16_000, metadata={"k": "\x01" * 340}, reply_to=10**12)

    (frame,) = encoded_frames.events([widest])

    assert len(frame) <= encoded_frames.MAX_FRAME_BYTES


def test_an_event_no_frame_can_carry_is_refused() -> None:
    with pytest.raises(encoded_frames.EventTooLargeError):
        encoded_frames.pack_events([b"x" * (encoded_frames.MAX_EVENT_BYTES + 1)])


def test_ephemeral_frames_are_as_the_contract_has_them() -> None:
    built = [
        encoded_frames.delta("C", reply_to=7, generation=1, index=0, text="Hé"),
        encoded_frames.delta("C", reply_to=7, generation=1, index=3, text="Héllo", snapshot=True),
        encoded_frames.presence("C", "alice", online=False),
        encoded_frames.typing("C", "alice", active=True),
        encoded_frames.read("C", "alice", 9),
        encoded_frames.unsubscribed("C", "removed"),
    ]

    assert [json.loads(frame) for frame in built] == [
        {
            "type": "delta",
            "channelId": "C",
            "replyTo": 7,
            "generation": 1,
            "index": 0,
            "text": "Hé",
        },
        {
            "type": "delta",
            "channelId": "C",
            "replyTo": 7,
            "generation": 1,
            "index": 3,
            "text": "Héllo",
            "snapshot": True,
        },
        {"type": "presence", "channelId": "C", "userId": "alice", "online": False},
        {"type": "typing", "channelId": "C", "userId": "alice", "typing": True},
        {"type": "read", "channelId": "C", "userId": "alice", "seq": 9},
        {"type": "unsubscribed", "channelId": "C", "reason": "removed"},
    ]
