"""Who is in a channel, in which role."""

from collections.abc import Sequence
from dataclasses import dataclass

from commons import keys
from commons.dal import Compare, ConditionCheck, Key, Table, Write
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
        opened = self.open_channels([channel_id], user_id)
        if channel_id not in opened:
            raise ChannelNotFoundError
        return opened[channel_id]

    def open_channels(self, channel_ids: Sequence[str], user_id: str) -> dict[str, OpenChannel]:
        """Those of the channels that the user is a member of: a call for each 50 of them."""
        row_keys = [
            key
            for channel_id in channel_ids
            for key in (keys.channel_key(channel_id), keys.member_key(channel_id, user_id))
        ]
        items = self.repository.batch_get(Table.CHANNELS, row_keys, consistent=True)
        rows = {(item["pk"], item["sk"]): item for item in items}
        opened: dict[str, OpenChannel] = {}
        for channel_id in channel_ids:
            channel_row = rows.get(_pair(keys.channel_key(channel_id)))
            member_row = rows.get(_pair(keys.member_key(channel_id, user_id)))
            if channel_row is None or member_row is None:
                continue
            channel = channel_from_item(channel_row)
            if not channel.deleted:
                opened[channel_id] = OpenChannel(channel, member_from_item(member_row))
        return opened

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


def _pair(key: Key) -> tuple[object, object]:
    return key["pk"], key["sk"]
