"""A connection that outlives its token by showing another."""

from collections.abc import Callable, Mapping
from typing import Final

from commons import keys
from commons.clock import epoch_seconds
from commons.dal import (
    Compare,
    Condition,
    Exists,
    IRepository,
    Key,
    Table,
    Update,
    UpdateWrite,
    Write,
    all_of,
)
from commons.dynamodb.exceptions import TransactionCanceledError
from commons.errors import ConflictError, UnauthenticatedError
from commons.records.connection import Connection
from commons.schemas.caller import Caller
from commons.services.base import BaseService
from commons.services.connections import ConnectionsService, connection_expiry

_TRIES: Final = 4
_IS_THERE: Final = Exists("channel_id")


class RenewalService(BaseService):
    """Renews connections.

    Args:
        verify_token: says whose a token is, or raises UnauthenticatedError.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        verify_token: Callable[[str], Caller],
        connections: ConnectionsService,
    ) -> None:
        super().__init__(repository)
        self._verify_token = verify_token
        self._connections = connections

    def renew(self, connection: Connection, token: str) -> Caller:
        """From here on the connection ends with this token, and so do its subscriptions.

        Raises:
            UnauthenticatedError: the token is not valid, has expired, or is another user's.
            ConnectionEndedError: the connection was forgotten meanwhile.
            ConflictError: its subscriptions keep changing.
        """
        caller = self._verify_token(token)
        if caller.user_id != connection.user_id:
            raise UnauthenticatedError("The token is another user's.")
        if caller.expires_at <= epoch_seconds():
            raise UnauthenticatedError("The token has expired.")
        for _ in range(_TRIES):
            try:
                self.repository.transact(_renewing(connection, caller))
            except TransactionCanceledError:
                connection = self._connections.require(connection.connection_id)
                continue
            return caller
        raise ConflictError("The connection is being changed by others: try again.")


def _renewing(connection: Connection, caller: Caller) -> list[Write]:
    """The connection, its place among the user's, its subscriptions: 52 writes at most.

    A channel subscribed to since the connection was read changes their number, one left since has
    no row: nothing is written then.
    """
    expires_at = connection_expiry(caller, connection.connected_at)
    lifetime = {"expires_at": expires_at, "ttl": expires_at}
    identity: dict[str, object] = {"token_expires_at": caller.expires_at}
    if caller.name is not None:
        identity["name"] = caller.name
    user_id, connection_id = connection.user_id, connection.connection_id
    unchanged = all_of(
        Compare("channel_count", "=", len(connection.partitions)),
        # Another end: it was renewed meanwhile, or is being erased.
        Compare("expires_at", "=", connection.expires_at),
    )
    writes = [
        _set(keys.connection_key(connection_id), lifetime | identity, unchanged),
        _set(keys.user_connection_key(user_id, connection_id), lifetime),
    ]
    writes += [_set(key, lifetime) for key in connection.subscription_keys()]
    return writes


def _set(key: Key, attributes: Mapping[str, object], condition: Condition = _IS_THERE) -> Write:
    return UpdateWrite(Table.CONNECTIONS, key, Update(set=attributes), condition)
