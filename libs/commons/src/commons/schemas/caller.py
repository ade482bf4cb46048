"""Who is calling."""

from commons.schemas.base import BaseSchema
from commons.schemas.event import Sender


class Caller(BaseSchema):
    """A user whose token was verified.

    Attributes:
        expires_at: when the token ends, in epoch seconds.
    """

    user_id: str
    name: str | None = None
    expires_at: int

    def as_sender(self) -> Sender:
        return Sender(id=self.user_id, name=self.name, kind="user")
