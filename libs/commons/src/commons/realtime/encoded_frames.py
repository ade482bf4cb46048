"""Frames as bytes: each is serialised once, however many connections it goes to."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from commons.schemas.event import Event
from commons.schemas.server_frames import (
    DeltaFrame,
    PresenceFrame,
    ReadFrame,
    TypingFrame,
    UnsubscribedFrame,
    UnsubscribedReason,
)

MAX_FRAME_BYTES: Final = 131_072
"""API Gateway's limit for one message to a connection."""

_HEAD: Final = b'{"type":"events","events":['
_TAIL: Final = b"]}"
_ENVELOPE: Final = len(_HEAD) + len(_TAIL)

MAX_EVENT_BYTES: Final = MAX_FRAME_BYTES - _ENVELOPE
"""What one event may take; 16,000 code points take 96,000 bytes at most (a control character is
six bytes as `\\u0001`), so only an event that breaks the contract's limits is larger."""


class EventTooLargeError(ValueError):
    """An event that no frame can carry."""


def event_json(event: Event) -> bytes:
    """The event as it stands in a frame."""
    return event.to_json().encode()


def pack_events(events: Iterable[bytes]) -> tuple[bytes, ...]:
    """As few `events` frames as hold the events (each from `event_json`), in the order given.

    Raises:
        EventTooLargeError: one of them passes MAX_EVENT_BYTES.
    """
    return tuple(frame for frame, _ in pack_and_count(events))


def pack_and_count(events: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """As `pack_events`: each frame with the number of events that it holds."""
    batch: list[bytes] = []
    size = _ENVELOPE
    for event in events:
        if len(event) > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"an event of {len(event)} bytes fits no frame")
        separator = 1 if batch else 0
        if size + separator + len(event) > MAX_FRAME_BYTES:
            yield _join(batch), len(batch)
            batch, size, separator = [], _ENVELOPE, 0
        batch.append(event)
        size += separator + len(event)
    if batch:
        yield _join(batch), len(batch)


def _join(batch: Sequence[bytes]) -> bytes:
    return _HEAD + b",".join(batch) + _TAIL


def events(items: Iterable[Event]) -> tuple[bytes, ...]:
    """As few `events` frames as hold the events, in the order given.

    Raises:
        EventTooLargeError: one of them fits no frame.
    """
    return pack_events(event_json(item) for item in items)


def delta(
    channel_id: str,
    *,
    reply_to: int,
    generation: int,
    index: int,
    text: str,
    snapshot: bool = False,
) -> bytes:
    frame = DeltaFrame(
        channel_id=channel_id,
        reply_to=reply_to,
        generation=generation,
        index=index,
        text=text,
        snapshot=True if snapshot else None,
    )
    return frame.to_json().encode()


def presence(channel_id: str, user_id: str, *, online: bool) -> bytes:
    frame = PresenceFrame(channel_id=channel_id, user_id=user_id, online=online)
    return frame.to_json().encode()


def typing(channel_id: str, user_id: str, *, active: bool) -> bytes:
    return TypingFrame(channel_id=channel_id, user_id=user_id, typing=active).to_json().encode()


def read(channel_id: str, user_id: str, seq: int) -> bytes:
    return ReadFrame(channel_id=channel_id, user_id=user_id, seq=seq).to_json().encode()


def unsubscribed(channel_id: str, reason: UnsubscribedReason) -> bytes:
    return UnsubscribedFrame(channel_id=channel_id, reason=reason).to_json().encode()
