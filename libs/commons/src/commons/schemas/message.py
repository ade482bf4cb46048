"""A message: its `message.created` with every edit, reaction and deletion applied."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator

from commons.errors import TooLargeError
from commons.schemas.base import BaseSchema
from commons.schemas.event import ReadFinishReason, Sender, Usage
from commons.schemas.types import MAX_METADATA_BYTES, ClientMessageId, MessageText, Seq


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("holds an unpaired surrogate") from None
    if size > MAX_METADATA_BYTES:
        raise TooLargeError(f"metadata: at most {MAX_METADATA_BYTES} bytes of JSON")
    return metadata


Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
"""Any JSON object of at most 2 KiB; more raises TooLargeError (413), not a 422."""


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
    finish_reason: ReadFinishReason | None = None
    usage: Usage | None = None


class PostMessage(BaseSchema):
    """What a user says, by REST or WebSocket."""

    text: MessageText
    client_message_id: ClientMessageId | None = None
    reply_to: Seq | None = None
    metadata: Metadata | None = None
