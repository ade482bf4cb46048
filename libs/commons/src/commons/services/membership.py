"""Who is in a channel, in which role."""

from dataclasses import dataclass

from commons import keys
from commons.dal import Compare, ConditionCheck, Table, Write
from commons.errors import ChannelNotFoundError, ForbiddenError
from commons.records.channel import ChannelRecord, MemberRecord, channel_from_item, member_from_item
from commons.services.base import BaseService


@dataclass(frozen=True, slots=True)
class OpenChannel:
    """A channel that exists, as one of its members sees it."""

    channel: ChannelRecord
    member: MemberRecord

    def require_owner(self) -> None:
        _require_owner(self.member)


def _require_owner(member: MemberRecord) -> None:
    if member.role != "owner":
        raise ForbiddenError("Only an owner of the channel may do this.")


def still_member(member: MemberRecord) -> Write:
    """Holds a transaction to the membership, and the role, that it was allowed on."""
    return ConditionCheck(
        Table.CHANNELS,
        keys.member_key(member.channel_id, member.user_id),
        Compare("role", "=", member.role),
    )


class MembershipService(BaseService):
    """Answers whether a user may. Strangers and deleted channels get the same 404."""

    def find_channel(self, channel_id: str) -> ChannelRecord | None:
        """The channel, consistently read; None where there is none or it was deleted."""
        item = self.repository.find(Table.CHANNELS, keys.channel_key(channel_id), consistent=True)
        if item is None:
            return None
        channel = channel_from_item(item)
        return None if channel.deleted else channel

    def open_channel(self, channel_id: str, user_id: str) -> OpenChannel:
        """The channel and the caller's membership: one call, two consistent reads.

        Raises:
            ChannelNotFoundError: no such channel, it was deleted, or the user is no member of it.
        """
        channel_key = keys.channel_key(channel_id)
        member_key = keys.member_key(channel_id, user_id)
        items = self.repository.batch_get(
            Table.CHANNELS, [channel_key, member_key], consistent=True
        )
        by_sort_key = {item["sk"]: item for item in items}
        if len(by_sort_key) < 2:  # noqa: PLR2004 - both rows or none
            raise ChannelNotFoundError
        channel = channel_from_item(by_sort_key[channel_key["sk"]])
        if channel.deleted:
            raise ChannelNotFoundError
        return OpenChannel(channel, member_from_item(by_sort_key[member_key["sk"]]))

    def require_member(self, channel_id: str, user_id: str) -> MemberRecord:
        """The caller's member row: one consistent read.

        For appends only: the log itself refuses what comes after `channel.deleted`. What reads
        asks `open_channel`.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        item = self.repository.find(
            Table.CHANNELS, keys.member_key(channel_id, user_id), consistent=True
        )
        if item is None:
            raise ChannelNotFoundError
        return member_from_item(item)

    def require_owner(self, channel_id: str, user_id: str) -> MemberRecord:
        """As `require_member`, of an owner.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
            ForbiddenError: a member, but no owner.
        """
        member = self.require_member(channel_id, user_id)
        _require_owner(member)
        return member
