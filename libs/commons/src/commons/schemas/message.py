"""A message: its `message.created` with every edit, reaction and deletion applied."""

from typing import Any

from commons.schemas.base import BaseSchema
from commons.schemas.event import FinishReason, Sender, Usage
from commons.schemas.types import ClientMessageId, MessageText, Seq


class Message(BaseSchema):
    channel_id: str
    seq: int
    created_at: str
    edited_at: str | None = None
    deleted_at: str | None = None
    sender: Sender
    text: str
    reply_to: int | None = None
    metadata: dict[str, Any] | None = None
    reactions: dict[str, list[str]]
    generation: int | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


class PostMessage(BaseSchema):
    """What a user says, by REST or WebSocket; `metadata` is any JSON object of at most 2 KiB."""

    text: MessageText
    client_message_id: ClientMessageId | None = None
    reply_to: Seq | None = None
    metadata: dict[str, Any] | None = None
