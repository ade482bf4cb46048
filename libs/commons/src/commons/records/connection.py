"""Open connections and what they are subscribed to, as the connections table holds them."""

from typing import Final, Literal

from commons import keys
from commons.dal import Item
from commons.ids import new_subscription_id
from commons.records.base import StoredModel
from commons.schemas.caller import Caller

MAX_CHANNELS: Final = 50
"""Channels a connection may be subscribed to."""

type SubscriptionState = Literal["replaying", "live"]


class Subscription(StoredModel):
    """A row `(C, U#conn)`.

    Attributes:
        subscription_id: another one each time that the subscription begins; None in a row of an
            older release.
        state: delivery passes a `replaying` one over: it is being sent the past.
        expires_at: epoch seconds; nothing is sent from then on.
        connected_at: epoch milliseconds, when the handshake began.
        live_after: the number of the last event that was replayed; None where nothing was.
        live_since: epoch milliseconds of becoming `live`; None while `replaying`.
        replaying_since: epoch milliseconds of beginning to replay; None once `live`.
    """

    channel_id: str
    connection_id: str
    user_id: str
    subscription_id: str | None = None
    state: SubscriptionState
    expires_at: int
    connected_at: int
    live_after: int | None = None
    live_since: int | None = None
    replaying_since: int | None = None

    def to_item(self) -> Item:
        key = keys.subscription_key(self.channel_id, self.user_id, self.connection_id)
        return {**self.model_dump(exclude_none=True), **key, "ttl": self.expires_at}


class Connection(StoredModel):
    """The row `(conn#ID, -)`: who is at the other end.

    Attributes:
        token_expires_at: of the token that opened it or that it was renewed with; epoch seconds.
        expires_at: epoch seconds; the connection counts for nobody from then on.
        connected_at: epoch milliseconds, when the handshake began.
        channels: what it is subscribed to.
    """

    connection_id: str
    user_id: str
    name: str | None = None
    token_expires_at: int
    expires_at: int
    connected_at: int
    channels: frozenset[str] = frozenset()

    def as_caller(self) -> Caller:
        return Caller(user_id=self.user_id, name=self.name, expires_at=self.token_expires_at)

    def subscription(
        self,
        channel_id: str,
        *,
        state: SubscriptionState,
        live_after: int | None = None,
        live_since: int | None = None,
        replaying_since: int | None = None,
    ) -> Subscription:
        """One that begins now."""
        return Subscription(
            channel_id=channel_id,
            connection_id=self.connection_id,
            user_id=self.user_id,
            subscription_id=new_subscription_id(),
            state=state,
            expires_at=self.expires_at,
            connected_at=self.connected_at,
            live_after=live_after,
            live_since=live_since,
            replaying_since=replaying_since,
        )


class UserConnection(StoredModel):
    """The row `(user#U, ID)`, by which a user's connections are counted."""

    connection_id: str
    expires_at: int
    connected_at: int
