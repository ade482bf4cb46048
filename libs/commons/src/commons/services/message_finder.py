"""Finds the messages of a page in a log that holds other events too."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, cast

from commons.clock import now, rfc3339
from commons.dal import MESSAGES_INDEX, Compare, IRepository, Item, Page, Query, SortBetween, Table

EXTRA_EVENTS: Final = 24
"""Events read beyond a page of messages: what a few reactions displace is still found by the
consistent read of the log, not by the index, which lags."""

INDEX_LAG: Final = timedelta(seconds=60)
"""DynamoDB's indexes follow within milliseconds, and promise nothing: what is younger than this is
looked for in the log."""

RECENT_EVENTS: Final = 500
"""Events read at once where the youngest are looked through."""

_IS_MESSAGE: Final = Compare("type", "=", "message.created")


@dataclass(slots=True)
class Found:
    """Messages in the direction that was asked for.

    Attributes:
        seqs: their numbers.
        items: the events of those that were read on the way.
        reached: the number up to which all are found; None: there are no others.
        unsure: those without an item are from the index, which had more of them: a message may be
            missing before the first one that is young.
    """

    seqs: list[int]
    items: dict[int, Item] = field(default_factory=dict)
    reached: int | None = None
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class MessageFinder:
    """One search: in one direction, from a number on, for so many messages.

    The log shows every message. The index skips what is no message, and may not hold the youngest:
    it is asked only where the log was read down to what it holds for sure. At most 3 calls.
    """

    repository: IRepository
    channel_id: str
    numbers: SortBetween
    ascending: bool
    limit: int

    def find(self) -> Found:
        scanned = self.limit + 1 + EXTRA_EVENTS
        page = self._scan(self.numbers, ascending=self.ascending, limit=scanned)
        messages = _messages(page)
        if len(messages) > self.limit or page.last_key is None:
            return self._found(messages, None)
        if messages and len(page.items) < scanned:
            # Long texts filled the page: nothing more is read than whether anything follows.
            return replace(self, limit=len(messages)).find_beyond(page.items[-1], messages)
        return self.find_beyond(page.items[-1], messages)

    def find_beyond(self, last: Item, messages: list[Item]) -> Found:
        """Adds to `messages` what is past the event `last`, up to which they are all."""
        if not is_young(last):
            return self._by_index(messages, seq_of(last))
        if self.ascending:
            return self._by_log(messages, seq_of(last))
        return self._down_from_young(messages, seq_of(last))

    def before_the_next(self, seq: int) -> int | None:
        """How far past `seq` no message is, one call; None: there is none."""
        page = self._messages_beyond(seq)
        if page.items:
            step = -1 if self.ascending else 1
            return seq_of(page.items[0]) + step
        return None if page.last_key is None else cast("int", page.last_key["seq"])

    def _down_from_young(self, messages: list[Item], seq: int) -> Found:
        page = self._scan(self._beyond(seq), ascending=False, limit=RECENT_EVENTS)
        messages = messages + _messages(page)
        if len(messages) > self.limit or page.last_key is None:
            return self._found(messages, None)
        last = page.items[-1]
        search = self._by_log if is_young(last) else self._by_index
        return search(messages, seq_of(last))

    def _by_log(self, messages: list[Item], seq: int) -> Found:
        """Adds what one call finds in the log past `seq`: all there is, as a rule."""
        page = self._messages_beyond(seq)
        reached = None if page.last_key is None else cast("int", page.last_key["seq"])
        return self._found(messages + page.items, reached)

    def _by_index(self, messages: list[Item], seq: int) -> Found:
        """Adds what the index names past `seq`, whose event is old."""
        beyond = self._beyond(seq)
        room = self.limit - len(messages)
        indexed = self._indexed(beyond, limit=room + 1)
        follows = len(indexed) > room
        if not self.ascending or follows:
            seqs = [*map(seq_of, messages), *indexed[:room]]
            items = {seq_of(item): item for item in messages}
            reached = (seqs[-1] if seqs else seq) if follows else None
            return Found(seqs, items, reached, unsure=self.ascending)
        # The index ends here. What it may not hold yet is at the head.
        page = self._scan(beyond, ascending=False, limit=RECENT_EVENTS)
        if page.last_key is not None and is_young(page.items[-1]):
            return self._found(messages, seq)
        items = {seq_of(item): item for item in (*messages, *_messages(page))}
        seqs = sorted({*items, *indexed})
        more = len(seqs) > self.limit
        seqs = seqs[: self.limit]
        reached = (seqs[-1] if seqs else seq) if more else None
        return Found(seqs, items, reached)

    def _found(self, messages: Sequence[Item], reached: int | None) -> Found:
        """The first of the messages, which are all that there are as far as `reached`."""
        shown = messages[: self.limit]
        if len(messages) > self.limit:
            reached = seq_of(shown[-1])
        return Found(
            [seq_of(item) for item in shown], {seq_of(item): item for item in shown}, reached
        )

    def _beyond(self, seq: int) -> SortBetween:
        if self.ascending:
            return replace(self.numbers, low=seq + 1)
        return replace(self.numbers, high=seq - 1)

    def _messages_beyond(self, seq: int) -> Page:
        """Messages past `seq` among the events of one page of 1 MB."""
        query = self._query(self._beyond(seq), ascending=self.ascending)
        return self.repository.query(replace(query, where=_IS_MESSAGE))

    def _scan(self, numbers: SortBetween, *, ascending: bool, limit: int) -> Page:
        return self.repository.query(
            replace(self._query(numbers, ascending=ascending), limit=limit)
        )

    def _query(self, numbers: SortBetween, *, ascending: bool) -> Query:
        return Query(
            table=Table.CHAT_EVENTS,
            partition=self.channel_id,
            sort=numbers,
            ascending=ascending,
            consistent=True,
        )

    def _indexed(self, numbers: SortBetween, *, limit: int) -> list[int]:
        page = self.repository.query(
            Query(
                table=Table.CHAT_EVENTS,
                index=MESSAGES_INDEX,
                partition=self.channel_id,
                sort=numbers,
                ascending=self.ascending,
                limit=limit,
            )
        )
        return [seq_of(item) for item in page.items]


def seq_of(item: Item) -> int:
    return cast("int", item["seq"])


def is_young(item: Item) -> bool:
    """Whether the index may not hold the event, or one after it, yet. A seal has no time."""
    return cast("str", item.get("created_at", "")) >= rfc3339(now() - INDEX_LAG)


def _messages(page: Page) -> list[Item]:
    return [item for item in page.items if item.get("type") == "message.created"]
