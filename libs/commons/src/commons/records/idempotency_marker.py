"""The marker of a `clientMessageId`, as the chat_events table holds it."""

from commons.records.base import StoredModel


class IdempotencyMarker(StoredModel):
    """What a `clientMessageId` was used for.

    Attributes:
        digest: of the request, keyed with `salt`; both are dropped when the message is deleted.
    """

    event_seq: int
    salt: bytes | None = None
    digest: bytes | None = None
