"""Messages as they stand: each `message.created` with its edits, reactions and deletion applied."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, cast

from commons import keys
from commons.dal import Item, Query, SortBetween, Table
from commons.errors import MessageNotFoundError
from commons.pages import that_fit
from commons.records.event import event_from_item
from commons.records.message_state import MessageReactions, MessageState
from commons.schemas.event import MessageCreated, MessageEdited
from commons.schemas.message import Message
from commons.services.base import BaseService
from commons.services.message_finder import Found, MessageFinder, is_young, seq_of

_KEYS_AT_ONCE: Final = 100
"""Of a batch get: a page needs one."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it was created, and what happened to it since.

    Attributes:
        text: as it stands.
    """

    created: MessageCreated
    state: MessageState
    reactions: MessageReactions
    text: str
    deleted_at: str | None

    @property
    def deleted(self) -> bool:
        return self.deleted_at is not None

    def folded(self) -> Message:
        created, data = self.created, self.created.data
        return Message(
            channel_id=created.channel_id,
            seq=created.seq,
            created_at=created.created_at,
            edited_at=None if self.deleted else self.state.edited_at,
            deleted_at=self.deleted_at,
            sender=created.sender,
            text="" if self.deleted else self.text,
            reply_to=data.reply_to,
            metadata=None if self.deleted else data.metadata,
            reactions=(
                {}
                if self.deleted
                else {each.emoji: list(each.user_ids) for each in self.reactions.reactions}
            ),
            generation=data.generation,
            finish_reason=data.finish_reason,
            usage=data.usage,
        )


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Messages, ascending.

    Attributes:
        reached: the page after this one begins past this number, in the direction that was asked
            for; None: nothing follows.
    """

    items: list[Message]
    reached: int | None


@dataclass(slots=True)
class _Rows:
    """State and reaction rows by message number."""

    states: dict[int, MessageState] = field(default_factory=dict)
    reactions: dict[int, MessageReactions] = field(default_factory=dict)

    def add(self, item: Item) -> None:
        seq, is_reactions = divmod(seq_of(item), 2)
        if is_reactions:
            self.reactions[seq] = MessageReactions.model_validate(item)
        else:
            self.states[seq] = MessageState.model_validate(item)

    def text_seq(self, seq: int) -> int | None:
        """The number of the event that holds the text, if that is not the message's own."""
        state = self.states.get(seq)
        if state is None or state.deleted_at is not None or not state.edits:
            return None
        return state.edits[-1]

    def stored(self, seq: int, events: dict[int, Item]) -> StoredMessage:
        """The message, from the events that were read with it or after it.

        What was read at different moments shows a deletion that came in between: it leaves the
        time of it in every item that it empties.
        """
        item = events[seq]
        created = event_from_item(item)
        if not isinstance(created, MessageCreated):
            raise MessageNotFoundError
        state = self.states.get(seq, MessageState())
        text, deleted_at = created.data.text, state.deleted_at or item.get("deleted_at")
        text_seq = self.text_seq(seq)
        if text_seq is not None:
            edited = event_from_item(events[text_seq])
            if isinstance(edited, MessageEdited):
                text = edited.data.text
            deleted_at = deleted_at or events[text_seq].get("deleted_at")
        return StoredMessage(
            created=created,
            state=state,
            reactions=self.reactions.get(seq, MessageReactions()),
            text=text,
            deleted_at=cast("str | None", deleted_at),
        )


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

        At most 5 calls, whatever the log's length. As many as `limit` wherever so many exist,
        whatever other events lie between, unless the page would pass 1 MB, or hundreds of other
        events of the last minute, which the index may not have followed, are passed: then it is
        shorter, and may be empty, and `reached` leads on.
        """
        finder = MessageFinder(
            repository=self.repository,
            channel_id=channel_id,
            numbers=SortBetween(
                low=1 if after is None else after + 1, high=None if before is None else before - 1
            ),
            ascending=after is not None,
            limit=limit,
        )
        found = finder.find()
        messages = self._fold(finder, found)
        reached = found.reached
        if len(messages) < len(found.seqs):
            reached = messages[-1].seq if messages else after
        if not messages and reached is not None:
            reached = finder.before_the_next(reached)
        messages.sort(key=lambda message: message.seq)
        return HistoryPage(messages, reached)

    def message(self, channel_id: str, seq: int) -> Message:
        """One message.

        Raises:
            MessageNotFoundError: no message has that number.
        """
        return self.stored_message(channel_id, seq).folded()

    def stored_message(self, channel_id: str, seq: int) -> StoredMessage:
        """One message and its state: one call of three consistent reads, two if it was edited.

        Raises:
            MessageNotFoundError: no message has that number.
        """
        found = self.repository.batch_get(
            Table.CHAT_EVENTS,
            [
                keys.event_key(channel_id, seq),
                keys.message_state_key(channel_id, seq),
                keys.message_reactions_key(channel_id, seq),
            ],
            consistent=True,
        )
        rows = _Rows()
        events: dict[int, Item] = {}
        for item in found:
            if item["channel_id"] == channel_id:
                events[seq] = item
            else:
                rows.add(item)
        if seq not in events or events[seq].get("type") != "message.created":
            raise MessageNotFoundError
        if (text_seq := rows.text_seq(seq)) is not None:
            events[text_seq] = self.repository.get(
                Table.CHAT_EVENTS, keys.event_key(channel_id, text_seq), consistent=True
            )
        return rows.stored(seq, events)

    def _fold(self, finder: MessageFinder, found: Found) -> list[Message]:
        """The messages in the direction of the search: the first of those found, one at least.

        None where all that was found is unsure.
        """
        if not found.seqs:
            return []
        rows, seqs = self._rows(finder, found.seqs)
        events = dict(found.items)
        seqs, missing = _first_keys(seqs, rows, events)
        if missing:
            read = self.repository.batch_get(
                Table.CHAT_EVENTS,
                [keys.event_key(finder.channel_id, seq) for seq in missing],
                consistent=True,
            )
            events |= {seq_of(item): item for item in read}
        if found.unsure:
            seqs = list(takewhile(lambda seq: not _is_doubtful(seq, found, events), seqs))
        return list(that_fit([rows.stored(seq, events).folded() for seq in seqs]))

    def _rows(self, finder: MessageFinder, seqs: Sequence[int]) -> tuple[_Rows, list[int]]:
        """The rows of the first of the messages, as far as one query of 1 MB reaches."""
        low, high = min(seqs), max(seqs)
        page = self.repository.query(
            Query(
                table=Table.CHAT_EVENTS,
                partition=keys.message_state_partition(finder.channel_id),
                sort=SortBetween(low=2 * low, high=2 * high + 1),
                ascending=finder.ascending,
                consistent=True,
            )
        )
        rows = _Rows()
        for item in page.items:
            rows.add(item)
        if page.last_key is None:
            return rows, list(seqs)
        last = cast("int", page.last_key["seq"])
        complete = (
            [seq for seq in seqs if 2 * seq + 1 <= last]
            if finder.ascending
            else [seq for seq in seqs if 2 * seq >= last]
        )
        return rows, complete


def _first_keys(
    seqs: Sequence[int], rows: _Rows, events: dict[int, Item]
) -> tuple[list[int], list[int]]:
    """The first of the messages, and those of their events that one call still has to read."""
    shown: list[int] = []
    missing: list[int] = []
    for seq in seqs:
        needed = [seq] if (text := rows.text_seq(seq)) is None else [seq, text]
        missing_here = [each for each in needed if each not in events]
        if len(missing) + len(missing_here) > _KEYS_AT_ONCE:
            break
        shown.append(seq)
        missing += missing_here
    return shown, missing


def _is_doubtful(seq: int, found: Found, events: dict[int, Item]) -> bool:
    return seq not in found.items and is_young(events[seq])
