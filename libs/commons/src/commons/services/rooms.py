"""Who listens in a channel, wherever the room's shards have them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from heapq import merge
from itertools import chain
from typing import Final

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import (
    Compare,
    IRepository,
    Item,
    Query,
    SortBetween,
    SortPrefix,
    Table,
)
from commons.dynamodb.exceptions import ConditionFailedError
from commons.records.connection import Backlog, RoomShards, Subscription
from commons.services.base import BaseService
from commons.services.subscription_writes import IS_FREE

_ATTRIBUTES: Final = (
    "channel_id",
    "connection_id",
    "user_id",
    "subscription_id",
    "state",
    "expires_at",
    "connected_at",
    "live_after",
    "live_since",
    "replaying_since",
    "shards",
    "backlog_through",
)
"""What is read of a room: less to parse, which is most of what reading 10,000 rows takes."""

_ROWS_ABOUT_THE_ROOM: Final = 2
"""Those that sort before its subscriptions: `RoomShards` and `Backlog`."""

_SHARDS_AT_ONCE: Final = 16


type _Row = Subscription | RoomShards | Backlog


@dataclass(frozen=True, slots=True)
class FirstPage:
    """What one call tells of a room.

    Attributes:
        subscriptions: those of the page.
        shards: 0 where those are all, else over how many shards the room is spread.
        backlog: its events wait in delivery's queue, up to this one; None: none does.
    """

    subscriptions: list[Subscription]
    shards: int
    backlog: int | None


class RoomsService(BaseService):
    """Reads rooms: the subscriptions to a channel. A full one is spread over shards.

    Args:
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository)
        self._clock = clock

    def find_subscription(
        self, channel_id: str, user_id: str, connection_id: str, shard: int
    ) -> Subscription | None:
        """One consistent read."""
        key = keys.subscription_key(channel_id, user_id, connection_id, shard)
        item = self.repository.find(Table.CONNECTIONS, key, consistent=True)
        return None if item is None else Subscription.model_validate(item)

    def subscriptions(
        self,
        channel_id: str,
        *,
        include_replaying: bool = False,
        include_expired: bool = False,
    ) -> list[Subscription]:
        """The room's subscriptions: one consistent query a shard, one call a MB (some 3,000 rows)."""
        moment = self._seconds()
        return [
            row
            for row in self.room(channel_id)
            if (include_replaying or row.state == "live")
            and (include_expired or row.expires_at > moment)
        ]

    def room(self, channel_id: str) -> list[Subscription]:
        """Every subscription there is, whatever its state."""
        rows = self._rows(channel_id)
        first = next(rows, None)
        if not isinstance(first, RoomShards):
            return _subscriptions([] if first is None else [first], rows)
        others = [
            self._threads.submit(self.shard, channel_id, shard) for shard in range(1, first.shards)
        ]
        found = _subscriptions(rows)
        for each in others:
            found += each.result()
        return found

    def shard(self, channel_id: str, shard: int) -> list[Subscription]:
        """Those of the room's subscriptions that are in one shard."""
        return _subscriptions(self._rows(channel_id, shard))

    def first_of_room(self, channel_id: str, limit: int) -> tuple[list[Subscription], bool]:
        """Up to `limit` subscriptions, by one call, and whether those are all there are."""
        page = self.first_page(channel_id, limit)
        return page.subscriptions[:limit], page.shards == 0

    def first_page(self, channel_id: str, limit: int) -> FirstPage:
        """The room, by one call, where there are no more than `limit` subscriptions."""
        page = self.repository.query(_query(channel_id, limit=limit + 1 + _ROWS_ABOUT_THE_ROOM))
        rows = list(map(_row, page.items))
        shards = next((row.shards for row in rows if isinstance(row, RoomShards)), 1)
        backlog = next((row.backlog_through for row in rows if isinstance(row, Backlog)), None)
        found = _subscriptions(rows)
        are_all = shards == 1 and len(found) <= limit and page.last_key is None
        return FirstPage(found, 0 if are_all else shards, backlog)

    def walk(
        self, channel_id: str, *, page: int, past_user: str | None = None
    ) -> Iterator[Subscription]:
        """The room's subscriptions by user id, read `page` rows at a time as they are consumed."""
        low = None if past_user is None else keys.past_user(past_user)
        first_shard = self._rows(channel_id, limit=page, low=low)
        first = next(first_shard, None)
        if past_user is None:
            count = first.shards if isinstance(first, RoomShards) else 1
        else:
            count = self.shards_of(channel_id)
        shards = [
            chain(() if first is None else (first,), first_shard),
            *(self._rows(channel_id, shard, limit=page, low=low) for shard in range(1, count)),
        ]
        yield from merge(*map(_only_subscriptions, shards), key=lambda row: row.user_id)

    def shards_of(self, channel_id: str) -> int:
        """Over how many shards the room is spread; one consistent read."""
        key = keys.shards_key(channel_id)
        item = self.repository.find(Table.CONNECTIONS, key, consistent=True)
        return 1 if item is None else RoomShards.model_validate(item).shards

    def grow(self, channel_id: str, *, shards: int, to: int) -> int:
        """Spreads the room over `to` shards, where it is spread over `shards` now.

        Returns:
            Over how many it is spread then.
        """
        is_as_known = Compare("shards", "=", shards) if shards > 1 else IS_FREE
        try:
            self.repository.put(
                Table.CONNECTIONS, RoomShards(shards=to).to_item(channel_id), condition=is_as_known
            )
        except ConditionFailedError as error:
            return 1 if error.item is None else RoomShards.model_validate(error.item).shards
        return to

    def of_user(self, channel_id: str, user_id: str) -> list[Subscription]:
        """The user's subscriptions to the channel."""
        prefix = SortPrefix(keys.subscription_prefix(user_id))
        shards = self.shards_of(channel_id)
        if shards == 1:
            return _subscriptions(self._rows(channel_id, sort=prefix))
        return [
            row
            for rows in self._threads.map(
                lambda shard: _subscriptions(self._rows(channel_id, shard, sort=prefix)),
                range(shards),
            )
            for row in rows
        ]

    def connections_of(self, channel_id: str, user_id: str) -> frozenset[str]:
        """Those of the user's connections that have a subscription to the channel."""
        return frozenset(row.connection_id for row in self.of_user(channel_id, user_id))

    def still_live(self, subscriptions: Sequence[Subscription]) -> frozenset[str]:
        """The connections of those that are the same live subscription by now: one call a hundred."""
        moment = self._seconds()
        known = {each.connection_id: each.live_since for each in subscriptions}
        items = self.repository.batch_get(
            Table.CONNECTIONS, [each.key for each in subscriptions], consistent=True
        )
        return frozenset(
            row.connection_id
            for row in map(Subscription.model_validate, items)
            if row.state == "live"
            and row.expires_at > moment
            and row.live_since == known[row.connection_id]
        )

    def _rows(
        self,
        channel_id: str,
        shard: int = 0,
        *,
        sort: SortPrefix | None = None,
        low: str | None = None,
        limit: int | None = None,
    ) -> Iterator[_Row]:
        query = _query(channel_id, shard, sort=sort, low=low, limit=limit)
        return map(_row, self.repository.iterate(query))

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_SHARDS_AT_ONCE, thread_name_prefix="shard")

    def _seconds(self) -> int:
        return self._clock() // 1000


def _query(
    channel_id: str,
    shard: int = 0,
    *,
    sort: SortPrefix | None = None,
    low: str | None = None,
    limit: int | None = None,
) -> Query:
    return Query(
        table=Table.CONNECTIONS,
        partition=keys.subscription_partition(channel_id, shard),
        sort=sort if low is None else SortBetween(low=low),
        consistent=True,
        limit=limit,
        attributes=_ATTRIBUTES,
    )


def _row(item: Item) -> _Row:
    if "shards" in item:
        return RoomShards.model_validate(item)
    return (Backlog if "backlog_through" in item else Subscription).model_validate(item)


def _only_subscriptions(rows: Iterable[_Row]) -> Iterator[Subscription]:
    return (row for row in rows if isinstance(row, Subscription))


def _subscriptions(*rows: Iterable[_Row]) -> list[Subscription]:
    return [row for some in rows for row in _only_subscriptions(some)]
