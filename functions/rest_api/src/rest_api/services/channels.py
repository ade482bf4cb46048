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
)
from commons.records.timer import TimerRecord
from commons.schemas.caller import Caller
from commons.schemas.channel import Channel
from commons.schemas.event import ChannelDeletedData, ChannelUpdatedData
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown, own
from commons.services.closing import ClosingService
from commons.services.event_log import Draft, EventLogService, LastEvent
from commons.services.membership import MembershipService, OpenChannel, still_member
from rest_api.schemas import CreateChannel, UpdateChannel
from rest_api.services.agents import AgentRules, agent_view
from rest_api.services.member_rows import new_member_writes
from rest_api.services.unread import UnreadService

REPLAY_SECONDS: Final = 24 * 3_600
"""How long an `Idempotency-Key` is remembered."""

MAX_BYTES_READ: Final = 5_000_000
"""For a page of the list, however much the channels hold that others have filled."""

MAX_CHANNEL_BYTES: Final = 250_000
"""For one channel's figures: its last event, which is no larger than a frame, and 500 entries of
the index, 105 KB with user ids of 128 characters."""

_VIEWS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class CreatedChannel:
    """`replayed`: the `Idempotency-Key` was used before, nothing was written."""

    channel: Shown[Channel]
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
        self._reader = ChannelReader(self.repository)

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
        nothing_yet = _Figures(last=LastEvent(0, None), read_seq=0, unread_count=0)
        view = _view(nothing_yet, OpenChannel(channel, owner))
        return CreatedChannel(own(view), replayed=False)

    def get(self, channel_id: str, caller: Caller) -> Shown[Channel]:
        """The channel as the caller sees it: 5 calls at most.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
        """

        def read() -> _Figures:
            return self._figures(self._membership.open_channel(channel_id, caller.user_id))

        return self._reader.show_to_member(channel_id, caller.user_id, read, _view)

    def page(self, caller: Caller, *, limit: int, after: str | None = None) -> Shown[ChannelsPage]:
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
            opened += self._membership.open_channels(channel_ids, caller.user_id).values()
            if page.last_key is None:
                break
            after = channel_ids[-1]
        read, looked_at = self._figures_that_fit(opened[:limit])
        follows = opened[looked_at - 1].channel.channel_id if looked_at < len(opened) else None
        views = self._reader.show_all(caller.user_id, read, _view)
        return views.map(lambda views: _page(list(views.values()), follows))

    def update(self, channel_id: str, caller: Caller, request: UpdateChannel) -> Shown[Channel]:
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
            if (name, agent) == (channel.name, channel.agent):
                return None
            changed = replace(
                opened, channel=channel.model_copy(update={"name": name, "agent": agent})
            )
            return Draft(
                sender=caller.as_sender(),
                data=ChannelUpdatedData(
                    name=name if name != channel.name else None,
                    agent=agent_view(agent, "member") if agent != channel.agent else None,
                ),
                writes=lambda seq: [
                    _settings_write(channel, name, agent, seq),
                    still_member(opened.member),
                ],
                holds_its_reasons=True,
            )

        event = self._event_log.append(channel_id, prepare, goes_first=True)
        if event is None:
            return self.get(channel_id, caller)
        figures = self._figures(changed, LastEvent(event.seq, event.created_at))
        return own(_view(figures, changed))

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

    def _figures_that_fit(self, listed: Sequence[OpenChannel]) -> "tuple[dict[str, _Figures], int]":
        """Of the first channels, up to a page's budget, and how many these are.

        Nobody knows what a channel costs before it was read: as many are read at once as fit
        whatever they hold.
        """
        figures: dict[str, _Figures] = {}
        looked_at, left = 0, MAX_BYTES_READ - sum(map(_row_bytes, listed))
        with ThreadPoolExecutor(_VIEWS_AT_ONCE) as threads:
            while looked_at < len(listed):
                fit = left // MAX_CHANNEL_BYTES
                if looked_at and fit <= 0:
                    break
                group = listed[looked_at : looked_at + max(1, min(fit, _VIEWS_AT_ONCE))]
                looked_at += len(group)
                views = threads.map(self._figures_if_there, group)
                for each, found in zip(group, views, strict=True):
                    if found is not None:
                        figures[each.channel.channel_id] = found
                        left -= found.bytes_read
        return figures, looked_at

    def _figures_if_there(self, opened: OpenChannel) -> "_Figures | None":
        """None for a channel that was deleted while the page was being put together."""
        try:
            return self._figures(opened)
        except ChannelNotFoundError:
            return None

    def _figures(self, opened: OpenChannel, last: LastEvent | None = None) -> "_Figures":
        channel_id, member = opened.channel.channel_id, opened.member
        if last is None:
            last = self._event_log.last_event(channel_id)
        unread = self._unread.count(
            channel_id, member.user_id, read_seq=member.read_seq, last_seq=last.seq
        )
        return _Figures(
            last=last,
            read_seq=member.read_seq,
            unread_count=unread.count,
            bytes_read=last.bytes_read + unread.bytes_read,
        )

    def _replayed(self, caller: Caller, marker: Item, digest: str) -> Shown[Channel]:
        if marker["digest"] != digest:
            raise ConflictError("This Idempotency-Key was used for another request.")
        try:
            return self.get(str(marker["channel_id"]), caller)
        except ChannelNotFoundError:
            raise ConflictError(
                "The channel that this Idempotency-Key made is gone, or you have left it."
            ) from None


@dataclass(frozen=True, slots=True)
class _Figures:
    """What is counted for one member, at one moment."""

    last: LastEvent
    read_seq: int
    unread_count: int
    bytes_read: int = 0


def _row_bytes(opened: OpenChannel) -> int:
    """What its rows cost a page, which reads them before the figures and afterwards."""
    rows = (opened.channel, opened.member)
    return 2 * sum(len(row.model_dump_json(exclude_none=True).encode()) for row in rows)


def _view(figures: _Figures, opened: OpenChannel) -> Channel:
    channel, member = opened.channel, opened.member
    return Channel(
        channel_id=channel.channel_id,
        name=channel.name,
        created_at=channel.created_at,
        created_by=channel.created_by,
        role=member.role,
        member_count=channel.member_count,
        last_seq=figures.last.seq,
        last_event_at=figures.last.created_at,
        read_seq=figures.read_seq,
        unread_count=figures.unread_count,
        agent=agent_view(channel.agent, member.role),
    )


def _page(channels: list[Channel], follows: str | None) -> ChannelsPage:
    """`follows`: past which id the list goes on after all of them."""
    shown = list(that_fit(channels))
    return ChannelsPage(shown, shown[-1].channel_id if len(shown) < len(channels) else follows)


def _channel_write(channel: ChannelRecord) -> Write:
    item: Item = {
        **keys.channel_key(channel.channel_id),
        **channel.model_dump(exclude_none=True, exclude={"deleted"}),
    }
    return PutWrite(Table.CHANNELS, item, NotExists("pk"))


def _settings_write(channel: ChannelRecord, name: str, agent: AgentRecord, seq: int) -> Write:
    """`seq`: of the event that says the change."""
    noted: Item = {} if agent.mode == channel.agent.mode else {"agent_mode_changed_seq": seq}
    return UpdateWrite(
        Table.CHANNELS,
        keys.channel_key(channel.channel_id),
        Update(
            set={
                "name": name,
                "agent": agent.model_dump(exclude_none=True),
                "settings_version": channel.settings_version + 1,
                **noted,
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
