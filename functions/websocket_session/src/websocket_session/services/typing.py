"""Who is typing."""

from collections.abc import Callable
from typing import Final

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import Exists, IRepository, Table, Update
from commons.dynamodb.exceptions import ConditionFailedError
from commons.realtime import frames
from commons.schemas.connection import Connection, TypingMark
from commons.services.base import BaseService
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.connections import ConnectionEndedError
from commons.services.membership import MembershipService

REPEAT_MILLISECONDS: Final = 2_000
"""The same state is passed on again after this; a change at once."""


class TypingService(BaseService):
    """Tells a channel who is typing.

    Args:
        broadcasts: tells the channel's other members.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        broadcasts: ChannelBroadcastService,
        membership: MembershipService | None = None,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository)
        self._clock = clock
        self._broadcasts = broadcasts
        self._membership = membership or MembershipService(self.repository)

    def set(self, connection: Connection, channel_id: str, *, typing: bool) -> bool:
        """Passes it on, unless the others heard the same less than 2 s ago; says whether it did.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
            ConnectionEndedError: the connection was forgotten meanwhile.
        """
        self._membership.open_channel(channel_id, connection.user_id)
        moment = self._clock()
        fresh = {
            channel: mark
            for channel, mark in connection.typing.items()
            if moment - mark.at < REPEAT_MILLISECONDS
        }
        if channel_id in fresh and fresh[channel_id].typing == typing:
            return False
        self._remember(connection, fresh | {channel_id: TypingMark(typing=typing, at=moment)})
        self._broadcasts.send(
            channel_id,
            frames.typing(channel_id, connection.user_id, active=typing),
            except_users=frozenset({connection.user_id}),
        )
        return True

    def _remember(self, connection: Connection, marks: dict[str, TypingMark]) -> None:
        try:
            self.repository.update(
                Table.CONNECTIONS,
                keys.connection_key(connection.connection_id),
                Update(set={"typing": {name: mark.model_dump() for name, mark in marks.items()}}),
                condition=Exists("channel_id"),
            )
        except ConditionFailedError:
            raise ConnectionEndedError from None
