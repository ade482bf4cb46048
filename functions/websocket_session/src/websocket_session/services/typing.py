"""Who is typing."""

from collections.abc import Callable
from typing import Final

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import Compare, IRepository, Item, NotExists, Table, any_of
from commons.dynamodb.exceptions import ConditionFailedError
from commons.errors import TooManyRequestsError
from commons.realtime import encoded_frames
from commons.records.base import StoredModel
from commons.records.connection import Connection
from commons.services.base import BaseService
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.membership import MembershipService
from commons.services.rate_limit import NoticeRateService

REPEAT_MILLISECONDS: Final = 2_000
"""The same state is passed on again after this; a change at once."""

_ROW_SECONDS: Final = 60


class _Told(StoredModel):
    """What the channel was last told; `at` in epoch milliseconds."""

    typing: bool
    at: int


class TypingService(BaseService):
    """Tells a channel who is typing.

    Args:
        broadcasts: tells the channel's other members.
        notice_rate: bounds how often, in all channels together.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        broadcasts: ChannelBroadcastService,
        membership: MembershipService,
        notice_rate: NoticeRateService,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository)
        self._clock = clock
        self._broadcasts = broadcasts
        self._membership = membership
        self._notice_rate = notice_rate

    def set(self, connection: Connection, channel_id: str, *, typing: bool) -> bool:
        """Passes it on, unless the others heard the same less than 2 s ago; says whether it did.

        Nothing is passed on, nor remembered as told, of a user who has others told of too much.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        self._membership.open_channel(channel_id, connection.user_id)
        moment, user_id = self._clock(), connection.user_id
        if not self._is_news(channel_id, user_id, moment, typing=typing):
            return False
        try:
            self._notice_rate.take(user_id)
        except TooManyRequestsError:
            return False
        if not self._note(channel_id, user_id, moment, typing=typing):
            return False
        self._broadcasts.send(
            channel_id,
            encoded_frames.typing(channel_id, user_id, active=typing),
            except_users=frozenset({user_id}),
        )
        return True

    def _is_news(self, channel_id: str, user_id: str, moment: int, *, typing: bool) -> bool:
        """A repeated keystroke costs a read, and nothing of the user's bucket."""
        key = keys.typing_key(channel_id, user_id)
        item = self.repository.find(Table.CONNECTIONS, key, consistent=True)
        if item is None:
            return True
        told = _Told.model_validate(item)
        return told.typing != typing or told.at <= moment - REPEAT_MILLISECONDS

    def _note(self, channel_id: str, user_id: str, moment: int, *, typing: bool) -> bool:
        """Of several connections of a user that say the same at once one is passed on."""
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
