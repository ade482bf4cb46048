"""Events as the client knows them."""

from datetime import UTC, datetime

from chat_client import Event, MessageCreated, Sender
from chat_client.models import MessageCreatedData

AT = datetime(2026, 1, 2, tzinfo=UTC)


def message(seq: int, text: str = "hello", **data: object) -> Event:
    return MessageCreated(
        channel_id="room",
        seq=seq,
        created_at=AT,
        sender=Sender(id="alice", kind="user"),
        data=MessageCreatedData.model_validate({"text": text, **data}),
    )


def messages(*seqs: int) -> list[Event]:
    return [message(seq) for seq in seqs]


def seqs(events: list[Event]) -> list[int]:
    return [event.seq for event in events]
