"""Who is in a channel, in which role."""

from commons import keys
from commons.dal import Item, Table
from commons.errors import ChannelNotFoundError, ForbiddenError
from commons.schemas.base import StoredModel
from commons.schemas.event import Role
from commons.services.base import BaseService


class MemberRecord(StoredModel):
    """A member row: `(channel#C, member#U)` in the channels table."""

    channel_id: str
    user_id: str
    role: Role
    joined_at: str
    name: str | None = None
    read_seq: int = 0


def member_from_item(item: Item) -> MemberRecord:
    return MemberRecord.model_validate(item)


class MembershipService(BaseService):
    def find_member(self, channel_id: str, user_id: str) -> MemberRecord | None:
        """One consistent read; None for a stranger and for a channel that does not exist."""
        item = self.repository.find(
            Table.CHANNELS, keys.member_key(channel_id, user_id), consistent=True
        )
        return None if item is None else member_from_item(item)

    def require_member(self, channel_id: str, user_id: str) -> MemberRecord:
        """The caller's member row.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        member = self.find_member(channel_id, user_id)
        if member is None:
            raise ChannelNotFoundError()
        return member

    def require_owner(self, channel_id: str, user_id: str) -> MemberRecord:
        """The caller's member row.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
            ForbiddenError: a member, but no owner.
        """
        member = self.require_member(channel_id, user_id)
        if member.role != "owner":
            raise ForbiddenError("Only an owner of the channel may do this.")
        return member
