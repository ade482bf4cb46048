"""Open connections and what they are subscribed to, as the connections table holds them."""

from typing import Any, Final, Literal

from pydantic import Field, model_validator

from commons import keys
from commons.dal import Item
from commons.dal.interface import Key
from commons.ids import new_subscription_id
from commons.records.base import StoredModel
from commons.schemas.caller import Caller

MAX_CHANNELS: Final = 50
"""Channels a connection may be subscribed to."""

MAX_CONNECTIONS: Final = 200
"""A user's open connections."""

CONNECTION_SECONDS: Final = 3 * 3_600
"""API Gateway ends a connection after 2 h; past 3 h a row is of one that nobody saw ending."""

HANDSHAKE_SECONDS: Final = 10
"""API Gateway answers 410 while a handshake runs: a connection younger than this is not gone."""

REPLAY_SECONDS: Final = 30
"""API Gateway gives a route 29 s: a replay that began longer ago is dead."""

SETTLING_SECONDS: Final = 30
"""A replay posts its tail within that: once `live_since` is older, `live_after` means nothing."""

type SubscriptionState = Literal["replaying", "live"]


class Subscription(StoredModel):
    """A row `(C, U#conn)`, or `(C#shard, U#conn)` in a room that has grown (docs/adr/0053).

    Attributes:
        shard: where the row is; it stays there.
        subscription_id: another one each time that the subscription begins; None in a row of an
            older release.
        state: delivery passes a `replaying` one over: it is being sent the past.
        expires_at: epoch seconds; nothing is sent from then on.
        connected_at: epoch milliseconds, when the handshake began.
        live_after: the last event that the connection holds, until its replay has ended: while
            `replaying` that replay began after it, once `live` its tail may still be on its way.
        live_since: epoch milliseconds of becoming `live`; None while `replaying`.
        replaying_since: epoch milliseconds of beginning to replay; None once `live`.
    """

    channel_id: str
    shard: int = 0
    connection_id: str
    user_id: str
    subscription_id: str | None = None
    state: SubscriptionState
    expires_at: int
    connected_at: int
    live_after: int | None = None
    live_since: int | None = None
    replaying_since: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_its_shard(cls, row: Any) -> Any:
        """The table's key is called `channel_id`, and names the shard as well."""
        partition = row.get("channel_id", "") if isinstance(row, dict) else ""
        if "#" not in partition:
            return row
        channel_id, shard = keys.channel_and_shard(partition)
        return {**row, "channel_id": channel_id, "shard": shard}

    @property
    def key(self) -> Key:
        return keys.subscription_key(self.channel_id, self.user_id, self.connection_id, self.shard)

    @property
    def identity(self) -> str:
        """Tells it from whatever begins in its place."""
        return self.subscription_id or self.connection_id

    def to_item(self) -> Item:
        row = self.model_dump(exclude_none=True, exclude={"shard"})
        return {**row, **self.key, "ttl": self.expires_at}


class Connection(StoredModel):
    """The row `(conn#ID, -)`: who is at the other end.

    Attributes:
        token_expires_at: of the token that opened it or that it was renewed with; epoch seconds.
        expires_at: epoch seconds; the connection counts for nobody from then on.
        connected_at: epoch milliseconds, when the handshake began.
        partitions: where its subscriptions are. The row's attribute is called `channels`: what an
            older release finds there is the key of a subscription, too.
    """

    connection_id: str
    user_id: str
    name: str | None = None
    token_expires_at: int
    expires_at: int
    connected_at: int
    partitions: frozenset[str] = Field(default=frozenset(), alias="channels")

    @property
    def channels(self) -> frozenset[str]:
        """What it is subscribed to."""
        return frozenset(keys.channel_and_shard(each)[0] for each in self.partitions)

    def shard_of(self, channel_id: str) -> int | None:
        """Where its subscription to the channel is; None where it has none."""
        for channel, shard in map(keys.channel_and_shard, self.partitions):
            if channel == channel_id:
                return shard
        return None

    def subscription_keys(self) -> list[Key]:
        """Of every subscription that it has."""
        return [
            keys.subscription_key(channel_id, self.user_id, self.connection_id, shard)
            for channel_id, shard in map(keys.channel_and_shard, self.partitions)
        ]

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
        shard: int = 0,
    ) -> Subscription:
        """One that begins now."""
        return Subscription(
            channel_id=channel_id,
            shard=shard,
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


NOBODY: Final = "#"
"""Whose the rows about a room are: no user's, because a user id cannot hold it."""

_NO_SUBSCRIPTION: Final = {
    "connection_id": NOBODY,
    "user_id": NOBODY,
    "state": "replaying",
    "expires_at": 0,
    "connected_at": 0,
}
"""What makes a row about a room, to an older release, a subscription that has expired."""


class RoomShards(StoredModel):
    """The row `(C, #)`: over how many shards a room's subscriptions are spread; none: one.

    It sorts before every subscription, so whoever reads the room's first page has it.
    """

    shards: int

    def to_item(self, channel_id: str) -> Item:
        return {**keys.shards_key(channel_id), **_NO_SUBSCRIPTION, "shards": self.shards}


class Backlog(StoredModel):
    """The row `(C, #backlog)`: the room's events up to a number wait in delivery's queue.

    It sorts as `RoomShards` does, before every subscription.
    """

    backlog_through: int

    def to_item(self, channel_id: str, *, ttl: int) -> Item:
        return {
            **keys.backlog_key(channel_id),
            **_NO_SUBSCRIPTION,
            "backlog_through": self.backlog_through,
            "ttl": ttl,
        }


class Removals(StoredModel):
    """The row `(removed#C, -)`: whose subscriptions were taken away a short while ago.

    Attributes:
        removed: `identity` of those subscriptions.
        cleared_at: epoch milliseconds of dropping the older ones: who began to look before that
            reads the room anew.
        closed: the channel was deleted.
    """

    removed: frozenset[str] = frozenset()
    cleared_at: int = 0
    closed: bool = False
