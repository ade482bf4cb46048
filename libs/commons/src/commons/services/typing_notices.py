"""Who is typing: the latest state, every 2 s at most a user and channel (docs/adr/0055)."""

from collections.abc import Callable
from typing import Final

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import Compare, Condition, IRepository, NotExists, Table, Update, all_of
from commons.dynamodb.exceptions import ConditionFailedError
from commons.errors import TooManyRequestsError
from commons.realtime import encoded_frames
from commons.records.typing import TypingRecord
from commons.services.base import BaseService
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.rate_limit import NoticeRateService

REPEAT_MILLISECONDS: Final = 2_000
"""A channel is told of a user's typing once in this time."""

WORTH_TELLING_MILLISECONDS: Final = 10_000
"""Clients let `typing` lapse by themselves: what could not be told by then, nobody wants to know."""

_ROW_SECONDS: Final = 60


class TypingNoticesService(BaseService):
    """Tells a channel's other members who is typing.

    Args:
        broadcasts: reaches them.
        notice_rate: bounds how often, in all channels together.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        broadcasts: ChannelBroadcastService,
        notice_rate: NoticeRateService,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository)
        self._clock = clock
        self._broadcasts = broadcasts
        self._notice_rate = notice_rate

    def say(self, channel_id: str, user_id: str, *, typing: bool) -> None:
        """Tells it now, or leaves it to be told once the channel may be told again.

        A repeated keystroke costs one read; what is left for later costs no token either.
        """
        row, moment = self._find(channel_id, user_id), self._clock()
        is_due = row is None or _is_due(row, moment)
        if row is not None and row.latest == typing and not is_due:
            return
        if is_due and self._tell(channel_id, user_id, row, typing=typing):
            return
        wanted = {"wanted": typing, "wanted_at": moment, "ttl": moment // 1_000 + _ROW_SECONDS}
        self.repository.update(
            Table.CONNECTIONS, keys.typing_key(channel_id, user_id), Update(set=wanted)
        )

    def tell_wanted(self, channel_id: str, user_id: str) -> bool:
        """Tells what was left for later; False where it is still too early for that.

        Raises:
            StorageUnavailableError: storage did not answer.
        """
        row, moment = self._find(channel_id, user_id), self._clock()
        if row is None or row.wanted is None:
            return True
        is_late = row.wanted_at <= moment - WORTH_TELLING_MILLISECONDS
        if is_late or row.wanted == row.typing:
            return self._drop_wanted(channel_id, user_id, row)
        return _is_due(row, moment) and self._tell(channel_id, user_id, row, typing=row.wanted)

    def _find(self, channel_id: str, user_id: str) -> TypingRecord | None:
        key = keys.typing_key(channel_id, user_id)
        item = self.repository.find(Table.CONNECTIONS, key, consistent=True)
        return None if item is None else TypingRecord.model_validate(item)

    def _tell(
        self, channel_id: str, user_id: str, row: TypingRecord | None, *, typing: bool
    ) -> bool:
        """False where the user has others told of too much, or was told of by somebody else."""
        try:
            self._notice_rate.take(user_id)
        except TooManyRequestsError:
            return False
        moment = self._clock()
        told = Update(
            set={"typing": typing, "at": moment, "ttl": moment // 1_000 + _ROW_SECONDS},
            remove=["wanted", "wanted_at"],
        )
        unchanged = NotExists("channel_id") if row is None else _is_unchanged(row)
        try:
            key = keys.typing_key(channel_id, user_id)
            self.repository.update(Table.CONNECTIONS, key, told, condition=unchanged)
        except ConditionFailedError:
            return False
        self._broadcasts.send(
            channel_id,
            encoded_frames.typing(channel_id, user_id, active=typing),
            except_users=frozenset({user_id}),
        )
        return True

    def _drop_wanted(self, channel_id: str, user_id: str, row: TypingRecord) -> bool:
        try:
            self.repository.update(
                Table.CONNECTIONS,
                keys.typing_key(channel_id, user_id),
                Update(remove=["wanted", "wanted_at"]),
                condition=_is_unchanged(row),
            )
        except ConditionFailedError:
            return False
        return True


def _is_due(row: TypingRecord, moment: int) -> bool:
    return row.at <= moment - REPEAT_MILLISECONDS


def _is_unchanged(row: TypingRecord) -> Condition:
    """Nobody told anything since, and the user said nothing else."""
    told = Compare("at", "=", row.at) if row.at else NotExists("at")
    if row.wanted is None:
        return all_of(told, NotExists("wanted"))
    return all_of(told, Compare("wanted_at", "=", row.wanted_at))
