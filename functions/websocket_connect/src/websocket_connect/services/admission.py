"""Who may open a WebSocket."""

import re
from collections.abc import Callable, Set

from commons.auth.bearer import bearer_token
from commons.dal import IRepository
from commons.errors import ChannelNotFoundError, ForbiddenError, UnauthenticatedError
from commons.records.connection import Connection
from commons.schemas.caller import Caller
from commons.schemas.channel import CHANNEL_ID_PATTERN
from commons.services.base import BaseService
from commons.services.connections import ConnectionsService
from commons.services.tickets import TicketsService
from websocket_connect.schemas import Handshake


class AdmissionService(BaseService):
    """Admits handshakes.

    Args:
        verify_token: says whose a token is, or raises UnauthenticatedError.
        allow_token_in_query: whether `?token=` is believed.
        allowed_origins: a handshake with another `Origin` is refused; empty: none is.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        verify_token: Callable[[str], Caller],
        allow_token_in_query: bool = False,
        allowed_origins: Set[str] = frozenset(),
        tickets: TicketsService,
        connections: ConnectionsService,
    ) -> None:
        super().__init__(repository)
        self._verify_token = verify_token
        self._allow_token_in_query = allow_token_in_query
        self._allowed_origins = allowed_origins
        self._tickets = tickets
        self._connections = connections

    def admit(self, handshake: Handshake) -> Connection:
        """Registers the connection; a refusal stores nothing, though it has spent the ticket.

        Raises:
            UnauthenticatedError: no valid credential.
            ForbiddenError: the `Origin` is not allowed.
            ChannelNotFoundError: the user is no member of a channel named.
            InvalidRequestError: more than 50 channels.
            TooManyRequestsError: the user has 200 open connections.
        """
        caller = self._identify(handshake)
        origin = handshake.headers.get("origin")
        if self._allowed_origins and origin is not None and origin not in self._allowed_origins:
            raise ForbiddenError("This origin may not connect.")
        channels = handshake.channels
        if not all(re.match(CHANNEL_ID_PATTERN, channel) for channel in channels):
            raise ChannelNotFoundError
        return self._connections.register(
            handshake.connection_id,
            caller,
            connected_at=handshake.connected_at,
            channels=channels,
        )

    def _identify(self, handshake: Handshake) -> Caller:
        """By ticket, else by header, else by query: one that is given and not valid refuses."""
        if ticket := handshake.query.get("ticket"):
            return self._tickets.spend(ticket)
        if "authorization" in handshake.headers:
            return self._verify_token(bearer_token(handshake.headers["authorization"]))
        if self._allow_token_in_query and (token := handshake.query.get("token")):
            return self._verify_token(token)
        raise UnauthenticatedError("Connect with a ticket: POST /v1/tickets.")
