"""What the delivery worker lays aside, and what it hands to itself."""

from typing import Annotated, Literal

from pydantic import Field

from commons.schemas.base import BaseSchema

type ParkingReason = Literal["malformed", "storage", "too_large", "push", "internal", "unavailable"]
"""`unavailable` comes back by itself and is not parked; `storage` and `push` are what older stacks
parked of it."""


class ParkedRange(BaseSchema):
    """Events that were not delivered, by number only: redriving reads the log again."""

    channel_id: str
    from_seq: int
    to_seq: int
    reason: ParkingReason


class RoomRange(BaseSchema):
    """A stretch of the log that a room, or one shard of it, is due.

    Attributes:
        shard: None: all of the room.
        shards: over how many the room was spread when this was sent.
    """

    kind: Literal["range"] = "range"
    channel_id: str
    from_seq: int
    to_seq: int
    shard: int | None = None
    shards: int = 1


class CatchUp(BaseSchema):
    """A subscription that was put back to `replaying`, and is to be brought up from the log.

    Attributes:
        replaying_since: which replay this is: another one has another message.
    """

    kind: Literal["catchUp"] = "catchUp"
    channel_id: str
    user_id: str
    connection_id: str
    shard: int
    replaying_since: int


class Departed(BaseSchema):
    """Somebody who left and still had subscriptions when that was delivered."""

    kind: Literal["departed"] = "departed"
    channel_id: str
    user_id: str


type Errand = Annotated[RoomRange | CatchUp | Departed, Field(discriminator="kind")]
"""What a queue message asks for."""
