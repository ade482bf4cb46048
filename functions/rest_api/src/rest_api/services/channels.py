"""Channels: making, showing, changing and deleting them."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from commons import keys
from commons.clock import epoch_seconds, now, rfc3339
from commons.dal import (
    Compare,
    IRepository,
    Item,
    Key,
    NotExists,
    PutWrite,
    Query,
    SortPrefix,
    Table,
    Update,
    UpdateWrite,
    Write,
    all_of,
    any_of,
)
from commons.dynamodb.exceptions import RepositoryError, TransactionCanceledError
from commons.errors import ChannelNotFoundError, ConflictError
from commons.ids import new_channel_id
from commons.observability import log
from commons.pages import that_fit
from commons.records.channel import (
    AgentRecord,
    ChannelRecord,
    MemberRecord,
    channel_from_item,
    member_from_item,
)
from commons.records.timer import TimerRecord
from commons.schemas.caller import Caller
from commons.schemas.channel import Channel
from commons.schemas.event import ChannelDeletedData, ChannelUpdatedData
from commons.services.base import BaseService
from commons.services.closing import ClosingService
from commons.services.event_log import Draft, EventLogService, LastEvent
from commons.services.membership import MembershipService, OpenChannel, still_member
from rest_api.schemas import CreateChannel, UpdateChannel
from rest_api.services.agents import AgentRules, agent_view
from rest_api.services.member_rows import new_member_writes
from rest_api.services.unread import UnreadService

REPLAY_SECONDS: Final = 24 * 3_600
"""How long an `Idempotency-Key` is remembered."""

_VIEWS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class CreatedChannel:
    """`replayed`: the `Idempotency-Key` was used before, nothing was written."""

    channel: Channel
    replayed: bool


@dataclass(frozen=True, slots=True)
class ChannelsPage:
    """A user's channels; `next_after` is the last channel id of the page, if there are more."""

    items: list[Channel]
    next_after: str | None


class ChannelsService(BaseService):
    """Channels as their members see them."""

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        agents: AgentRules,
        closing: ClosingService,
    ) -> None:
        super().__init__(repository)
        self._agents = agents
        self._closing = closing
        self._event_log = EventLogService(self.repository)
        self._membership = MembershipService(self.repository)
        self._unread = UnreadService(self.repository)

    def create(
        self, caller: Caller, request: CreateChannel, *, idempotency_key: str | None = None
    ) -> CreatedChannel:
        """Makes a channel that the caller owns: one transaction of 84 items at most.

        Raises:
            InvalidRequestError: the agent's model is not allowed.
            ConflictError: the key was used for another request, or what it made is gone.
        """
        channel = ChannelRecord(
            channel_id=new_channel_id(),
            name=request.name,
            created_at=rfc3339(now()),
            created_by=caller.user_id,
            agent=self._agents.merged(None, request.agent),
            member_count=1,
            owner_count=1,
        )
        others = sorted(set(request.members or ()) - {caller.user_id})
        channel = channel.model_copy(update={"member_count": 1 + len(others)})
        owner = MemberRecord(
            channel_id=channel.channel_id,
            user_id=caller.user_id,
            role="owner",
            joined_at=channel.created_at,
            name=caller.name,
        )
        writes: list[Write] = [_channel_write(channel), *new_member_writes(owner)]
        for user_id in others:
            writes += new_member_writes(
                owner.model_copy(update={"user_id": user_id, "role": "member", "name": None})
            )
        if idempotency_key is not None:
            digest = _request_digest(request, others)
            writes.append(_request_write(caller, idempotency_key, digest, channel.channel_id))
        try:
            self.repository.transact(writes)
        except TransactionCanceledError as error:
            marker = error.reasons[-1].item
            if idempotency_key is None or marker is None:
                raise
            return CreatedChannel(self._replayed(caller, marker, digest), replayed=True)
        view = self._view(OpenChannel(channel, owner), LastEvent(0, None))
        return CreatedChannel(view, replayed=False)

    def get(self, channel_id: str, caller: Caller) -> Channel:
        """The channel as the caller sees it: 4 calls, more where unread messages were deleted.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
        """
        return self._view(self._membership.open_channel(channel_id, caller.user_id))

    def page(self, caller: Caller, *, limit: int, after: str | None = None) -> ChannelsPage:
        """The caller's channels, in the order of their ids, from past `after` on.

        Rows of channels that are deleted and not cleared yet are passed over, so that a page says
        `next_after` only where a channel follows.
        """
        opened: list[OpenChannel] = []
        while len(opened) <= limit:
            page = self.repository.query(
                Query(
                    table=Table.CHANNELS,
                    partition=keys.user_partition(caller.user_id),
                    sort=SortPrefix(keys.USER_CHANNEL_PREFIX),
                    limit=limit + 1 - len(opened),
                    consistent=True,
                    start_after=(
                        None if after is None else keys.user_channel_key(caller.user_id, after)
                    ),
                )
            )
            channel_ids = [str(item["channel_id"]) for item in page.items]
            opened += self._open_all(caller, channel_ids)
            if page.last_key is None:
                break
            after = channel_ids[-1]
        with ThreadPoolExecutor(_VIEWS_AT_ONCE) as threads:
            views = threads.map(self._view_if_there, opened[:limit])
            items = [view for view in views if view is not None]
        shown = that_fit(items)
        if len(shown) < len(items):
            return ChannelsPage(list(shown), shown[-1].channel_id)
        follows = len(opened) > limit
        return ChannelsPage(items, opened[limit - 1].channel.channel_id if follows else None)

    def update(self, channel_id: str, caller: Caller, request: UpdateChannel) -> Channel:
        """Changes name and agent; what is the same already writes no event.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            ForbiddenError: a member, but no owner.
            InvalidRequestError: the agent's model is not allowed.
        """
        changed: OpenChannel

        def prepare() -> Draft | None:
            nonlocal changed
            opened = self._membership.open_channel(channel_id, caller.user_id)
            opened.require_owner()
            channel = opened.channel
            name = request.name or channel.name
            agent = self._agents.merged(channel.agent, request.agent)
            changed = replace(
                opened, channel=channel.model_copy(update={"name": name, "agent": agent})
            )
            if (name, agent) == (channel.name, channel.agent):
                return None
            return Draft(
                sender=caller.as_sender(),
                data=ChannelUpdatedData(
                    name=name if name != channel.name else None,
                    agent=agent_view(agent, "member") if agent != channel.agent else None,
                ),
                writes=lambda _seq: [
                    _settings_write(channel, name, agent),
                    still_member(opened.member),
                ],
                holds_its_reasons=True,
            )

        event = self._event_log.append(channel_id, prepare, goes_first=True)
        last = None if event is None else LastEvent(event.seq, event.created_at)
        return self._view(changed, last)

    def delete(self, channel_id: str, caller: Caller) -> None:
        """Ends the channel for everyone. What is left to clear, `workers_timer` clears.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            ForbiddenError: a member, but no owner.
        """

        def prepare() -> Draft:
            opened = self._membership.open_channel(channel_id, caller.user_id)
            opened.require_owner()
            clearing = TimerRecord.of_deleted_channel(channel_id, epoch_seconds())
            return Draft(
                sender=caller.as_sender(),
                data=ChannelDeletedData(),
                writes=lambda _seq: [
                    UpdateWrite(
                        Table.CHANNELS,
                        keys.channel_key(channel_id),
                        Update(set={"deleted": True}),
                        NotExists("deleted"),
                    ),
                    clearing.write(),
                    still_member(opened.member),
                ],
                holds_its_reasons=True,
            )

        self._event_log.append(channel_id, prepare, goes_first=True)
        try:
            self._closing.clear(channel_id)
        except RepositoryError as error:
            log.warning("channel not cleared", channel_id=channel_id, error=type(error).__name__)

    def _open_all(self, caller: Caller, channel_ids: list[str]) -> list[OpenChannel]:
        rows = self.repository.batch_get(
            Table.CHANNELS,
            [
                key
                for channel_id in channel_ids
                for key in (
                    keys.channel_key(channel_id),
                    keys.member_key(channel_id, caller.user_id),
                )
            ],
            consistent=True,
        )
        by_key = {(row["pk"], row["sk"]): row for row in rows}
        opened = []
        for channel_id in channel_ids:
            channel_row = by_key.get(_pair(keys.channel_key(channel_id)))
            member_row = by_key.get(_pair(keys.member_key(channel_id, caller.user_id)))
            if channel_row is None or member_row is None:
                continue
            channel = channel_from_item(channel_row)
            if not channel.deleted:
                opened.append(OpenChannel(channel, member_from_item(member_row)))
        return opened

    def _view_if_there(self, opened: OpenChannel) -> Channel | None:
        """None for a channel that was deleted while the page was being put together."""
        try:
            return self._view(opened)
        except ChannelNotFoundError:
            return None

    def _view(self, opened: OpenChannel, last: LastEvent | None = None) -> Channel:
        channel, member = opened.channel, opened.member
        if last is None:
            last = self._event_log.last_event(channel.channel_id)
        return Channel(
            channel_id=channel.channel_id,
            name=channel.name,
            created_at=channel.created_at,
            created_by=channel.created_by,
            role=member.role,
            member_count=channel.member_count,
            last_seq=last.seq,
            last_event_at=last.created_at,
            read_seq=member.read_seq,
            unread_count=self._unread.count(
                channel.channel_id, member.user_id, read_seq=member.read_seq, last_seq=last.seq
            ),
            agent=agent_view(channel.agent, member.role),
        )

    def _replayed(self, caller: Caller, marker: Item, digest: str) -> Channel:
        if marker["digest"] != digest:
            raise ConflictError("This Idempotency-Key was used for another request.")
        try:
            return self.get(str(marker["channel_id"]), caller)
        except ChannelNotFoundError:
            raise ConflictError(
                "The channel that this Idempotency-Key made is gone, or you have left it."
            ) from None


def _pair(key: Key) -> tuple[object, object]:
    return key["pk"], key["sk"]


def _channel_write(channel: ChannelRecord) -> Write:
    item: Item = {
        **keys.channel_key(channel.channel_id),
        **channel.model_dump(exclude_none=True, exclude={"deleted"}),
    }
    return PutWrite(Table.CHANNELS, item, NotExists("pk"))


def _settings_write(channel: ChannelRecord, name: str, agent: AgentRecord) -> Write:
    return UpdateWrite(
        Table.CHANNELS,
        keys.channel_key(channel.channel_id),
        Update(
            set={
                "name": name,
                "agent": agent.model_dump(exclude_none=True),
                "settings_version": channel.settings_version + 1,
            }
        ),
        all_of(Compare("settings_version", "=", channel.settings_version), NotExists("deleted")),
    )


def _request_write(caller: Caller, idempotency_key: str, digest: str, channel_id: str) -> Write:
    moment = epoch_seconds()
    item: Item = {
        **keys.request_key(caller.user_id, idempotency_key),
        "channel_id": channel_id,
        "digest": digest,
        "expires_at": moment + REPLAY_SECONDS,
        "ttl": moment + REPLAY_SECONDS,
    }
    return PutWrite(
        Table.CHANNELS, item, any_of(NotExists("pk"), Compare("expires_at", "<=", moment))
    )


def _request_digest(request: CreateChannel, others: Sequence[str]) -> str:
    """Of what is asked for, however it is spelled; `others`: the members, sorted, each once."""
    agent = {} if request.agent is None else request.agent.to_wire()
    canonical = json.dumps([request.name, others, agent], sort_keys=True)
    return sha256(canonical.encode()).hexdigest()
