"""Tickets: secrets that open one WebSocket, so that no long-lived one is ever in a URL."""

import hashlib
import secrets
from typing import Final

from commons import keys
from commons.clock import epoch_seconds
from commons.dal import Compare, Item, NotExists, Table, Update, all_of
from commons.dynamodb.exceptions import ConditionFailedError
from commons.errors import UnauthenticatedError
from commons.records.ticket import TicketRecord
from commons.schemas.base import BaseSchema
from commons.schemas.caller import Caller
from commons.services.base import BaseService

TICKET_SECONDS: Final = 60
_TICKET_BYTES: Final = 32


class Ticket(BaseSchema):
    """`expires_in` is in seconds."""

    ticket: str
    expires_in: int


class TicketsService(BaseService):
    def issue(self, caller: Caller) -> Ticket:
        """A new ticket for the caller, good for 60 s."""
        ticket = secrets.token_urlsafe(_TICKET_BYTES)
        expires_at = epoch_seconds() + TICKET_SECONDS
        record = TicketRecord(
            user_id=caller.user_id,
            name=caller.name,
            expires_at=expires_at,
            token_expires_at=caller.expires_at,
        )
        item: Item = {
            **keys.ticket_key(_digest(ticket)),
            **record.model_dump(exclude_none=True),
            "ttl": expires_at,
        }
        self.repository.put(Table.CONNECTIONS, item)
        return Ticket(ticket=ticket, expires_in=TICKET_SECONDS)

    def spend(self, ticket: str) -> Caller:
        """Who the ticket was issued to; of several who spend it at once, one succeeds.

        Raises:
            UnauthenticatedError: there is no such ticket, it was spent, or it is too old.
        """
        try:
            # Marked, not deleted: the answer may get lost, and then says the same when repeated.
            item = self.repository.update(
                Table.CONNECTIONS,
                keys.ticket_key(_digest(ticket)),
                Update(set={"spent": True}),
                condition=all_of(NotExists("spent"), Compare("expires_at", ">", epoch_seconds())),
            )
        except ConditionFailedError:
            raise UnauthenticatedError("The ticket is not valid: buy a new one.") from None
        record = TicketRecord.model_validate(item)
        return Caller(user_id=record.user_id, name=record.name, expires_at=record.token_expires_at)


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode(errors="replace")).hexdigest()
