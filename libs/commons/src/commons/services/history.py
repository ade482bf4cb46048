"""Messages as they stand: each `message.created` with its edits, reactions and deletion applied."""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import takewhile
from typing import Final, cast

from commons import keys
from commons.clock import now, rfc3339
from commons.dal import (
    MESSAGES_INDEX,
    Item,
    Query,
    SortBetween,
    Table,
)
from commons.errors import MessageNotFoundError
from commons.records.event import event_from_item
from commons.records.message_state import MessageState
from commons.schemas.event import MessageCreated
from commons.schemas.message import Message
from commons.services.base import BaseService

EXTRA_EVENTS: Final = 24
"""Events read beyond a page of messages: what a few reactions displace is still found by the
consistent read of the log, not by the index, which lags."""

INDEX_LAG: Final = timedelta(seconds=60)
"""DynamoDB's indexes follow within milliseconds, and promise nothing: what is younger than this is
looked for in the log."""

RECENT_EVENTS: Final = 100
"""Events read at once where the newest are looked through."""

MAX_PAGE_BYTES: Final = 1_000_000
"""Of JSON."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it was created, and what happened to it since."""

    created: MessageCreated
    state: MessageState

    @property
    def deleted(self) -> bool:
        return self.state.deleted_at is not None

    @property
    def text(self) -> str:
        return self.created.data.text if self.state.text is None else self.state.text

    def folded(self) -> Message:
        created, state = self.created, self.state
        data = created.data
        return Message(
            channel_id=created.channel_id,
            seq=created.seq,
            created_at=created.created_at,
            edited_at=state.edited_at,
            deleted_at=state.deleted_at,
            sender=created.sender,
            text="" if self.deleted else self.text,
            reply_to=data.reply_to,
            metadata=None if self.deleted else data.metadata,
            reactions={each.emoji: list(each.user_ids) for each in state.reactions},
            generation=data.generation,
            finish_reason=data.finish_reason,
            usage=data.usage,
        )


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Messages, ascending; `more`: there are others in the direction that was asked for."""

    items: list[Message]
    more: bool


@dataclass(slots=True)
class _Found:
    """Message items in the direction of the query, one more than asked for where there is one."""

    items: list[Item] = field(default_factory=list)
    more: bool = False


class HistoryService(BaseService):
    """Reads messages; whoever asks has made sure that the caller may."""

    def page(
        self,
        channel_id: str,
        *,
        limit: int,
        before: int | None = None,
        after: int | None = None,
    ) -> HistoryPage:
        """The newest messages, those before a number, or the oldest after one.

        As many as `limit` wherever so many exist, whatever other events lie between, unless the
        page would pass 1 MB. At most 4 calls, whatever the log's length; after a number, one more
        where the page ends among messages that the index may not hold yet.
        """
        ascending = after is not None
        found = self._find(channel_id, _range(before, after), ascending=ascending, limit=limit)
        messages, more = self._fold(channel_id, found, ascending=ascending)
        messages.sort(key=lambda message: message.seq)
        return HistoryPage(messages, more)

    def message(self, channel_id: str, seq: int) -> Message:
        """One message.

        Raises:
            MessageNotFoundError: no message has that number.
        """
        return self.stored_message(channel_id, seq).folded()

    def stored_message(self, channel_id: str, seq: int) -> StoredMessage:
        """One message and its state, in one call of two consistent reads.

        Raises:
            MessageNotFoundError: no message has that number.
        """
        items = self.repository.batch_get(
            Table.CHAT_EVENTS,
            [keys.event_key(channel_id, seq), keys.message_state_key(channel_id, seq)],
            consistent=True,
        )
        by_partition = {item["channel_id"]: item for item in items}
        event_item = by_partition.get(channel_id)
        if event_item is None or event_item.get("type") != "message.created":
            raise MessageNotFoundError
        state_item = by_partition.get(keys.message_state_partition(channel_id))
        return _stored_message(event_item, state_item)

    def _find(
        self, channel_id: str, numbers: SortBetween, *, ascending: bool, limit: int
    ) -> _Found:
        scanned = limit + 1 + EXTRA_EVENTS
        page = self.repository.query(
            Query(
                table=Table.CHAT_EVENTS,
                partition=channel_id,
                sort=numbers,
                ascending=ascending,
                limit=scanned,
                consistent=True,
            )
        )
        messages = [item for item in page.items if item.get("type") == "message.created"]
        if len(messages) > limit:
            return _Found(messages[:limit], more=True)
        if page.last_key is None:
            return _Found(messages)
        beyond = _beyond(_seq(page.items[-1]), numbers, ascending=ascending)
        rest = self._indexed(
            channel_id, beyond, ascending=ascending, limit=limit + 1 - len(messages)
        )
        more = len(messages) + len(rest) > limit
        is_cut_by_size = len(page.items) < scanned
        if is_cut_by_size and messages:
            more = bool(rest) or (ascending and bool(self._recent(channel_id, beyond)))
            return _Found(messages, more=more)
        wanted = rest[: limit - len(messages)]
        items = self.repository.batch_get(
            Table.CHAT_EVENTS, [keys.event_key(channel_id, seq) for seq in wanted], consistent=True
        )
        if ascending and not (more and all(map(_is_indexed, items))):
            between = SortBetween(low=beyond.low, high=rest[-1]) if more else beyond
            items = _merged(items, self._recent(channel_id, between))
            more = more or len(messages) + len(items) > limit
        items.sort(key=_seq, reverse=not ascending)
        return _Found((messages + items)[:limit], more=more)

    def _recent(self, channel_id: str, numbers: SortBetween) -> list[Item]:
        """Messages too young for the index to be relied on, newest first.

        As many calls as it takes to read a minute of the log back, `RECENT_EVENTS` each.
        """
        newest_first = self.repository.iterate(
            Query(
                table=Table.CHAT_EVENTS,
                partition=channel_id,
                sort=numbers,
                ascending=False,
                limit=RECENT_EVENTS,
                consistent=True,
            )
        )
        recent = takewhile(lambda item: not _is_indexed(item), newest_first)
        return [item for item in recent if item.get("type") == "message.created"]

    def _indexed(
        self, channel_id: str, numbers: SortBetween, *, ascending: bool, limit: int
    ) -> list[int]:
        page = self.repository.query(
            Query(
                table=Table.CHAT_EVENTS,
                index=MESSAGES_INDEX,
                partition=channel_id,
                sort=numbers,
                ascending=ascending,
                limit=limit,
            )
        )
        return [_seq(item) for item in page.items]

    def _fold(
        self, channel_id: str, found: _Found, *, ascending: bool
    ) -> tuple[list[Message], bool]:
        if not found.items:
            return [], found.more
        ends = sorted((_seq(found.items[0]), _seq(found.items[-1])))
        page = self.repository.query(
            Query(
                table=Table.CHAT_EVENTS,
                partition=keys.message_state_partition(channel_id),
                sort=SortBetween(*ends),
                ascending=ascending,
                consistent=True,
            )
        )
        states = {_seq(item): item for item in page.items}
        messages: list[Message] = []
        size = 0
        for item in found.items:
            if page.last_key is not None and _is_past(item, page.items[-1], ascending=ascending):
                return messages, True
            message = _stored_message(item, states.get(_seq(item))).folded()
            size += len(message.to_json().encode())
            if messages and size > MAX_PAGE_BYTES:
                return messages, True
            messages.append(message)
        return messages, found.more


def _seq(item: Item) -> int:
    return cast("int", item["seq"])


def _range(before: int | None, after: int | None) -> SortBetween:
    return SortBetween(
        low=1 if after is None else after + 1, high=None if before is None else before - 1
    )


def _beyond(seq: int, numbers: SortBetween, *, ascending: bool) -> SortBetween:
    """What is left of a range once everything up to `seq` was seen."""
    if ascending:
        return SortBetween(low=seq + 1, high=numbers.high)
    return SortBetween(low=numbers.low, high=seq - 1)


def _is_past(item: Item, last: Item, *, ascending: bool) -> bool:
    """Whether a query in that direction has not come as far as `item` when it ends at `last`."""
    return _seq(item) > _seq(last) if ascending else _seq(item) < _seq(last)


def _is_indexed(item: Item) -> bool:
    """Whether the index can be relied on to hold the event, and each before it."""
    return cast("str", item["created_at"]) < rfc3339(now() - INDEX_LAG)


def _merged(*groups: list[Item]) -> list[Item]:
    """Each event once."""
    return list({_seq(item): item for items in groups for item in items}.values())


def _stored_message(event_item: Item, state_item: Item | None) -> StoredMessage:
    created = event_from_item(event_item)
    if not isinstance(created, MessageCreated):
        raise MessageNotFoundError
    state = (
        MessageState(seq=created.seq)
        if state_item is None
        else MessageState.model_validate(state_item)
    )
    return StoredMessage(created, state)
