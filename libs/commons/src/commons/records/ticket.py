"""Tickets as the connections table holds them."""

from commons.records.base import StoredModel


class TicketRecord(StoredModel):
    """What a ticket stands for; its key is the ticket's hash, the ticket itself is stored nowhere.

    Attributes:
        expires_at: of the ticket, in epoch seconds.
        token_expires_at: of the token it was bought with, in epoch seconds.
    """

    user_id: str
    name: str | None = None
    expires_at: int
    token_expires_at: int
