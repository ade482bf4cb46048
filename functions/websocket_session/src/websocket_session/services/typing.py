"""Who is typing."""

from commons.dal import IRepository
from commons.records.connection import Connection
from commons.services.base import BaseService
from commons.services.membership import MembershipService
from commons.services.typing_notices import TypingNoticesService


class TypingService(BaseService):
    """Tells a channel who is typing."""

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        membership: MembershipService,
        notices: TypingNoticesService,
    ) -> None:
        super().__init__(repository)
        self._membership = membership
        self._notices = notices

    def set(self, connection: Connection, channel_id: str, *, typing: bool) -> None:
        """Has the others told; the latest state, however often it changes.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        self._membership.open_channel(channel_id, connection.user_id)
        self._notices.say(channel_id, connection.user_id, typing=typing)
