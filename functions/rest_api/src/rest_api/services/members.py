"""Who is in a channel: listing, adding, changing roles, removing."""

from dataclasses import dataclass

from commons import keys
from commons.clock import now, rfc3339
from commons.dal import (
    Compare,
    DeleteWrite,
    IRepository,
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
from commons.pages import that_fit
from commons.records.channel import ChannelRecord, MemberRecord, member_from_item
from commons.schemas.caller import Caller
from commons.schemas.channel import Member
from commons.schemas.event import (
    MemberJoined,
    MemberJoinedData,
    MemberLeftData,
    MemberUpdatedData,
    Role,
)
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown, own
from commons.services.event_log import Draft, EventLogService
from commons.services.membership import MembershipService, OpenChannel, still_member
from commons.services.subscriptions_ending import SubscriptionsEndingService
from rest_api.services.member_rows import new_member_writes, twin_removal


@dataclass(frozen=True, slots=True)
class MembersPage:
    """Members by user id; `next_after` is the last user id of the page, if there are more."""

    items: list[Member]
    next_after: str | None


class MembersService(BaseService):
    """Each change is one transaction: the event, the member's rows, the channel's counts.

    Rules are judged when a change is prepared. The transaction's conditions hold them where the
    state has changed since: the change is prepared and judged anew, for it may have become
    another, or none.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        subscriptions: SubscriptionsEndingService,
        max_members: int,
    ) -> None:
        super().__init__(repository)
        self._max_members = max_members
        self._subscriptions = subscriptions
        self._event_log = EventLogService(self.repository)
        self._membership = MembershipService(self.repository)
        self._reader = ChannelReader(self.repository)

    def page(
        self, channel_id: str, caller: Caller, *, limit: int, after: str | None = None
    ) -> Shown[MembersPage]:
        """The members, from past `after` on.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
        """
        return self._reader.show(
            channel_id, caller.user_id, lambda: self._members(channel_id, limit, after)
        )

    def _members(self, channel_id: str, limit: int, after: str | None) -> MembersPage:
        page = self.repository.query(
            Query(
                table=Table.CHANNELS,
                partition=keys.channel_partition(channel_id),
                sort=SortPrefix(keys.MEMBER_PREFIX),
                limit=limit + 1,
                consistent=True,
                start_after=None if after is None else keys.member_key(channel_id, after),
            )
        )
        members = [_view(member_from_item(item)) for item in page.items]
        shown = that_fit(members[:limit])
        return MembersPage(list(shown), shown[-1].user_id if len(shown) < len(members) else None)

    def put(self, channel_id: str, caller: Caller, user_id: str, role: Role) -> Shown[Member]:
        """Makes the user a member of that role; who has it already writes no event.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            ForbiddenError: a member, but no owner.
            ConflictError: the channel is full, or would be left without an owner.
        """
        changed: MemberRecord

        def prepare() -> Draft | None:
            nonlocal changed
            opened = self._membership.open_channel(channel_id, caller.user_id)
            opened.require_owner()
            member = self._find(channel_id, user_id)
            if member is None:
                self._require_room(opened.channel)
                changed = MemberRecord(
                    channel_id=channel_id, user_id=user_id, role=role, joined_at=rfc3339(now())
                )
                return _joining(changed, opened.member, caller, self._max_members)
            changed = member.model_copy(update={"role": role})
            if member.role == role:
                return None
            _require_another_owner(opened, member)
            return _changing_role(member, opened.member, caller, role)

        event = self._event_log.append(channel_id, prepare, goes_first=True)
        if isinstance(event, MemberJoined):
            return own(_view(_joined_at(event.seq, changed)))
        return own(_view(changed))

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
            _require_another_owner(opened, member)
            return _leaving(member, opened.member, caller)

        try:
            self._event_log.append(channel_id, prepare, goes_first=True)
        except NotFoundError:
            # A call that crashed after its transaction has left subscriptions; its repetition,
            # which finds no member, ends them.
            if self._find(channel_id, user_id) is None:
                self._subscriptions.end_of_user(channel_id, user_id)
            raise
        self._subscriptions.end_of_user(channel_id, user_id)

    def _require_room(self, channel: ChannelRecord) -> None:
        if channel.member_count >= self._max_members:
            raise ConflictError(f"A channel has {self._max_members} members at most.")

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


def _require_another_owner(opened: OpenChannel, member: MemberRecord) -> None:
    """Where `member` is to lose a role.

    An owner who takes it from another owner is a second one, whatever the count says: that may
    have been read a moment before the other became one.
    """
    is_own_role = member.user_id == opened.member.user_id
    if is_own_role and member.role == "owner" and opened.channel.owner_count <= 1:
        raise ConflictError("A channel keeps at least one owner.")


def _joined_at(seq: int, member: MemberRecord) -> MemberRecord:
    """What was said before one joined counts as read."""
    return member.model_copy(update={"read_seq": seq})


def _joining(member: MemberRecord, asking: MemberRecord, caller: Caller, max_members: int) -> Draft:
    def writes(seq: int) -> list[Write]:
        counts = _counts_write(
            member.channel_id,
            members=1,
            owners=1 if member.role == "owner" else 0,
            condition=Compare("member_count", "<", max_members),
        )
        return [counts, *new_member_writes(_joined_at(seq, member)), still_member(asking)]

    return Draft(
        sender=caller.as_sender(),
        data=MemberJoinedData(user_id=member.user_id, role=member.role),
        writes=writes,
        holds_its_reasons=True,
    )


def _changing_role(member: MemberRecord, asking: MemberRecord, caller: Caller, role: Role) -> Draft:
    return Draft(
        sender=caller.as_sender(),
        data=MemberUpdatedData(user_id=member.user_id, role=role),
        writes=lambda _seq: [
            _owners_write(member.channel_id, owners=1 if role == "owner" else -1),
            UpdateWrite(
                Table.CHANNELS,
                keys.member_key(member.channel_id, member.user_id),
                Update(set={"role": role}),
                Compare("role", "=", member.role),
            ),
            *_still_asking(asking, member),
        ],
        holds_its_reasons=True,
    )


def _leaving(member: MemberRecord, asking: MemberRecord, caller: Caller) -> Draft:
    owners = -1 if member.role == "owner" else 0
    return Draft(
        sender=caller.as_sender(),
        data=MemberLeftData(user_id=member.user_id),
        writes=lambda _seq: [
            _owners_write(member.channel_id, members=-1, owners=owners),
            DeleteWrite(
                Table.CHANNELS,
                keys.member_key(member.channel_id, member.user_id),
                Compare("role", "=", member.role),
            ),
            twin_removal(member.channel_id, member.user_id),
            *_still_asking(asking, member),
        ],
        holds_its_reasons=True,
    )


def _still_asking(asking: MemberRecord, subject: MemberRecord) -> list[Write]:
    """Whoever asks about himself is held by the write of his own row."""
    return [] if asking.user_id == subject.user_id else [still_member(asking)]


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
