"""What the presence worker hands to itself for later."""

from typing import Literal, NamedTuple

from commons.schemas.base import BaseSchema


class ChannelUser(NamedTuple):
    """A user as one channel sees them."""

    channel_id: str
    user_id: str


class Check(BaseSchema):
    """Is a channel to be told something of a user? It is, where that is not what it was told.

    Attributes:
        about: whether the user is there, or is typing.
        mark: of a check 5 s after a subscription ended: tells that departure from later ones.
    """

    channel_id: str
    user_id: str
    about: Literal["presence", "typing"] = "presence"
    mark: str | None = None

    @property
    def user(self) -> ChannelUser:
        return ChannelUser(self.channel_id, self.user_id)
