"""Who is typing."""

from collections.abc import Callable
from typing import Final

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import Compare, IRepository, Item, NotExists, Table, any_of
from commons.dynamodb.exceptions import ConditionFailedError
from commons.realtime import encoded_frames
from commons.records.connection import Connection
from commons.services.base import BaseService
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.membership import MembershipService

REPEAT_MILLISECONDS: Final = 2_000
"""The same state is passed on again after this; a change at once."""

_ROW_SECONDS: Final = 60


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
        membership: MembershipService,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository)
        self._clock = clock
        self._broadcasts = broadcasts
        self._membership = membership

    def set(self, connection: Connection, channel_id: str, *, typing: bool) -> bool:
        """Passes it on, unless the others heard the same less than 2 s ago; says whether it did.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        self._membership.open_channel(channel_id, connection.user_id)
        if not self._is_news(channel_id, connection.user_id, typing=typing):
            return False
        self._broadcasts.send(
            channel_id,
            encoded_frames.typing(channel_id, connection.user_id, active=typing),
            except_users=frozenset({connection.user_id}),
        )
        return True

    def _is_news(self, channel_id: str, user_id: str, *, typing: bool) -> bool:
        """Of several connections of a user that say the same at once one is passed on."""
        moment = self._clock()
        told: Item = {
            **keys.typing_key(channel_id, user_id),
            "typing": typing,
            "at": moment,
            "ttl": moment // 1000 + _ROW_SECONDS,
        }
        news = any_of(
            NotExists("channel_id"),
            Compare("typing", "<>", typing),
            Compare("at", "<=", moment - REPEAT_MILLISECONDS),
        )
        try:
            self.repository.put(Table.CONNECTIONS, told, condition=news)
        except ConditionFailedError:
            return False
        return True
