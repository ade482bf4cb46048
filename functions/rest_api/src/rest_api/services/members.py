"""Who is in a channel: listing, adding, changing roles, removing."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from commons import keys
from commons.clock import now, rfc3339
from commons.dal import (
    Compare,
    DeleteWrite,
    IRepository,
    Item,
    NotExists,
    Query,
    SortPrefix,
    Table,
    Update,
    UpdateWrite,
    Write,
    all_of,
)
from commons.errors import ConflictError, NotFoundError
from commons.schemas.caller import Caller
from commons.schemas.channel import Member
from commons.schemas.event import MemberLeftData, MemberRoleData, Role
from commons.schemas.types import MAX_MEMBERS
from commons.services.base import BaseService
from commons.services.log import Draft, LogService
from commons.services.membership import (
    ChannelRecord,
    MemberRecord,
    MembershipService,
    channel_from_item,
    member_from_item,
)
from rest_api.services.member_rows import new_member_writes, twin_removal
from rest_api.services.subscriptions import SubscriptionsEndingService
from rest_api.services.unchanged import UnchangedError


@dataclass(frozen=True, slots=True)
class MembersPage:
    """Members by user id; `next_after` is the last user id of the page, if there are more."""

    items: list[Member]
    next_after: str | None


class MembersService(BaseService):
    """Each change is one transaction: the event, the member's rows, the channel's counts."""

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        subscriptions: SubscriptionsEndingService,
    ) -> None:
        super().__init__(repository)
        self._subscriptions = subscriptions
        self._log = LogService(self.repository)
        self._membership = MembershipService(self.repository)

    def page(
        self, channel_id: str, caller: Caller, *, limit: int, after: str | None = None
    ) -> MembersPage:
        """The members, from past `after` on.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
        """
        self._membership.open_channel(channel_id, caller.user_id)
        page = self.repository.query(
            Query(
                table=Table.CHANNELS,
                partition=keys.channel_partition(channel_id),
                sort=SortPrefix(keys.MEMBER_PREFIX),
                limit=limit,
                consistent=True,
                start_after=None if after is None else keys.member_key(channel_id, after),
            )
        )
        members = [_view(member_from_item(item)) for item in page.items]
        return MembersPage(members, members[-1].user_id if page.last_key is not None else None)

    def put(self, channel_id: str, caller: Caller, user_id: str, role: Role) -> Member:
        """Makes the user a member of that role; who has it already writes no event.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            ForbiddenError: a member, but no owner.
            ConflictError: the channel is full, or would be left without an owner.
        """

        def prepare() -> Draft:
            self._membership.open_channel(channel_id, caller.user_id).require_owner()
            member = self._find(channel_id, user_id)
            if member is None:
                return _joining(channel_id, caller, user_id, role)
            if member.role == role:
                raise UnchangedError
            return _changing_role(member, caller, role)

        with suppress(UnchangedError):
            self._log.append(channel_id, prepare)
        return _view(self._membership.require_member(channel_id, user_id))

    def remove(self, channel_id: str, caller: Caller, user_id: str) -> None:
        """Ends the membership, then the subscriptions: when this returns nothing is delivered.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            ForbiddenError: another's membership, and the caller is no owner.
            NotFoundError: the user is no member.
            ConflictError: the last owner.
        """

        def prepare() -> Draft:
            opened = self._membership.open_channel(channel_id, caller.user_id)
            if user_id != caller.user_id:
                opened.require_owner()
            member = self._find(channel_id, user_id)
            if member is None:
                raise NotFoundError("There is no such member in this channel.")
            return _leaving(member, caller)

        try:
            self._log.append(channel_id, prepare)
        except NotFoundError:
            # A call that crashed after its transaction has left subscriptions; its repetition,
            # which finds no member, ends them.
            if self._find(channel_id, user_id) is None:
                self._subscriptions.end_of_user(channel_id, user_id)
            raise
        self._subscriptions.end_of_user(channel_id, user_id)

    def _find(self, channel_id: str, user_id: str) -> MemberRecord | None:
        item = self.repository.find(
            Table.CHANNELS, keys.member_key(channel_id, user_id), consistent=True
        )
        return None if item is None else member_from_item(item)


def _view(member: MemberRecord) -> Member:
    return Member(
        user_id=member.user_id,
        name=member.name,
        role=member.role,
        joined_at=member.joined_at,
        read_seq=member.read_seq,
    )


def _joining(channel_id: str, caller: Caller, user_id: str, role: Role) -> Draft:
    joined_at = rfc3339(now())

    def writes(seq: int) -> list[Write]:
        member = MemberRecord(
            channel_id=channel_id, user_id=user_id, role=role, joined_at=joined_at, read_seq=seq
        )
        counts = _counts_write(
            channel_id,
            members=1,
            owners=1 if role == "owner" else 0,
            condition=Compare("member_count", "<", MAX_MEMBERS),
        )
        return [counts, *new_member_writes(member)]

    return Draft(
        type="member.joined",
        sender=caller.as_sender(),
        data=MemberRoleData(user_id=user_id, role=role),
        writes=writes,
        on_rejected=_refuse_if(
            lambda channel: channel.member_count >= MAX_MEMBERS,
            f"A channel has {MAX_MEMBERS} members at most.",
        ),
    )


def _changing_role(member: MemberRecord, caller: Caller, role: Role) -> Draft:
    return Draft(
        type="member.updated",
        sender=caller.as_sender(),
        data=MemberRoleData(user_id=member.user_id, role=role),
        writes=lambda _seq: [
            _owners_write(member.channel_id, owners=1 if role == "owner" else -1),
            UpdateWrite(
                Table.CHANNELS,
                keys.member_key(member.channel_id, member.user_id),
                Update(set={"role": role}),
                Compare("role", "=", member.role),
            ),
        ],
        on_rejected=_refuse_last_owner if role != "owner" else None,
    )


def _leaving(member: MemberRecord, caller: Caller) -> Draft:
    is_owner = member.role == "owner"
    return Draft(
        type="member.left",
        sender=caller.as_sender(),
        data=MemberLeftData(user_id=member.user_id),
        writes=lambda _seq: [
            _owners_write(member.channel_id, members=-1, owners=-1 if is_owner else 0),
            DeleteWrite(
                Table.CHANNELS,
                keys.member_key(member.channel_id, member.user_id),
                Compare("role", "=", member.role),
            ),
            twin_removal(member.channel_id, member.user_id),
        ],
        on_rejected=_refuse_last_owner if is_owner else None,
    )


def _owners_write(channel_id: str, *, owners: int, members: int = 0) -> Write:
    """Counts that never leave the channel without an owner."""
    condition = Compare("owner_count", ">", 1) if owners < 0 else Compare("owner_count", ">", 0)
    return _counts_write(channel_id, members=members, owners=owners, condition=condition)


def _counts_write(channel_id: str, *, members: int, owners: int, condition: Compare) -> Write:
    return UpdateWrite(
        Table.CHANNELS,
        keys.channel_key(channel_id),
        Update(add={"member_count": members, "owner_count": owners}),
        all_of(condition, NotExists("deleted")),
    )


def _refuse_if(
    is_refused: Callable[[ChannelRecord], bool], detail: str
) -> Callable[[int, Item | None], None]:
    """For drafts whose first companion write is the channel's counts."""

    def on_rejected(position: int, item: Item | None) -> None:
        if position == 0 and item is not None and is_refused(channel_from_item(item)):
            raise ConflictError(detail)

    return on_rejected


_refuse_last_owner = _refuse_if(
    lambda channel: channel.owner_count <= 1, "A channel keeps at least one owner."
)
