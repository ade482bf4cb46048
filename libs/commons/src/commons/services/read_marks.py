"""How far each member has read: a mark on the member row, no event."""

from commons import keys
from commons.dal import Compare, Exists, IRepository, NotExists, Table, Update, all_of, any_of
from commons.dynamodb.exceptions import ConditionFailedError
from commons.errors import ChannelNotFoundError, InvalidRequestError
from commons.realtime import encoded_frames
from commons.schemas.caller import Caller
from commons.services.base import BaseService
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.event_log import EventLogService
from commons.services.membership import MembershipService
from commons.services.rate_limit import NoticeRateService


class ReadMarksService(BaseService):
    """Moves read marks.

    Args:
        broadcasts: tells the channel's other members.
        notice_rate: bounds how often; a mark that stays where it is takes nothing from it.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        broadcasts: ChannelBroadcastService,
        event_log: EventLogService | None = None,
        membership: MembershipService | None = None,
        notice_rate: NoticeRateService | None = None,
    ) -> None:
        super().__init__(repository)
        self._broadcasts = broadcasts
        self._event_log = event_log or EventLogService(self.repository)
        self._membership = membership or MembershipService(self.repository)
        self._notice_rate = notice_rate or NoticeRateService(self.repository, kind="read")

    def mark(self, channel_id: str, caller: Caller, seq: int) -> bool:
        """Moves the caller's mark forward and tells the others; False where it stays.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            InvalidRequestError: past the end of the log.
            TooManyRequestsError: the caller moves marks too fast; this one was not moved.
        """
        member = self._membership.open_channel(channel_id, caller.user_id).member
        if seq <= member.read_seq:
            return False
        if seq > self._event_log.head(channel_id):
            raise InvalidRequestError.of("seq", "is past the channel's lastSeq")
        self._notice_rate.take(caller.user_id)
        if not self._move(channel_id, caller, seq):
            return False
        self._broadcasts.send(
            channel_id,
            encoded_frames.read(channel_id, caller.user_id, seq),
            except_users=frozenset({caller.user_id}),
        )
        return True

    def _move(self, channel_id: str, caller: Caller, seq: int) -> bool:
        # The row learns its member's name here: whoever added them knew the id only.
        name = {} if caller.name is None else {"name": caller.name}
        behind = any_of(NotExists("read_seq"), Compare("read_seq", "<", seq))
        try:
            self.repository.update(
                Table.CHANNELS,
                keys.member_key(channel_id, caller.user_id),
                Update(set={"read_seq": seq, **name}),
                condition=all_of(Exists("pk"), behind),
            )
        except ConditionFailedError as error:
            if error.item is None:
                raise ChannelNotFoundError from None
            return False
        return True
