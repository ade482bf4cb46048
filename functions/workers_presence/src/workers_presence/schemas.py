"""What the presence worker hands to itself for later."""

from commons.schemas.base import BaseSchema


class Departure(BaseSchema):
    """A user's last subscription to a channel ended.

    Attributes:
        mark: tells this departure from later ones of the same user.
    """

    channel_id: str
    user_id: str
    mark: str
