"""What the delivery worker lays aside."""

from typing import Literal

from commons.schemas.base import BaseSchema

type ParkingReason = Literal["malformed", "storage", "too_large", "push", "internal", "unavailable"]
"""`unavailable` comes back by itself and is not parked; `storage` is what older stacks parked of it."""


class ParkedRange(BaseSchema):
    """Events that were not delivered, by number only: redriving reads the log again."""

    channel_id: str
    from_seq: int
    to_seq: int
    reason: ParkingReason
