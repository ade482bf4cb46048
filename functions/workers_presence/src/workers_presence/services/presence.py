"""Online at the first live subscription, offline 5 s after the last (docs/adr/0005)."""

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from typing import Final

from commons import keys
from commons.clock import epoch_seconds
from commons.dal import (
    Compare,
    Exists,
    IRepository,
    Item,
    Key,
    NotExists,
    Query,
    SortPrefix,
    Table,
    Update,
)
from commons.dynamodb.exceptions import ConditionFailedError, RepositoryError
from commons.observability import log
from commons.realtime import encoded_frames
from commons.realtime.broadcaster import IBroadcaster
from commons.records.connection import Subscription
from commons.services.base import BaseService
from commons.services.channel_broadcast import ChannelBroadcastService
from workers_presence.departures import IDepartures
from workers_presence.records import Change
from workers_presence.schemas import Departure

ROW_SECONDS: Final = 24 * 3_600
"""Far longer than a connection lives: a row is renewed by the connections that follow."""

_AT_ONCE: Final = 16


class PresenceService(BaseService):
    """Keeps `(presence#C, U)` true to the subscriptions and tells the channel when it changes.

    Args:
        broadcaster: how frames reach connections.
        departures: where a departure waits before it counts.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        broadcaster: IBroadcaster,
        departures: IDepartures,
    ) -> None:
        super().__init__(repository)
        self._departures = departures
        self._channels = ChannelBroadcastService(self.repository, broadcaster=broadcaster)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="presence")

    def take_changes(self, changes: Iterable[Change]) -> list[str]:
        """Announces who came online, and lets departures wait.

        Returns:
            The sequence numbers of changes that storage or the queue did not take.
        """
        settled = self._settle_all(changes)
        leaving = {
            Departure(
                channel_id=change.channel_id, user_id=change.user_id, mark=change.mark
            ): change
            for change in settled[_Outcome.LEFT]
            if change.mark is not None
        }
        refused = self._departures.postpone(list(leaving)) if leaving else []
        self._announce(settled[_Outcome.CAME])
        log.info(
            "presence",
            came=len(settled[_Outcome.CAME]),
            leaving=len(leaving) - len(refused),
            failed=len(settled[_Outcome.FAILED]) + len(refused),
        )
        failed = [*settled[_Outcome.FAILED], *(leaving[departure] for departure in refused)]
        return [change.sequence_number for change in failed]

    def confirm(self, departure: Departure) -> None:
        """Announces that a user left, unless they came back or left again later.

        Raises:
            RepositoryError: storage did not answer.
        """
        channel_id, user_id = departure.channel_id, departure.user_id
        if self._is_present(channel_id, user_id):
            return
        try:
            self.repository.delete(
                Table.CONNECTIONS,
                keys.presence_key(channel_id, user_id),
                condition=Compare("departure", "=", departure.mark),
            )
        except ConditionFailedError:
            return
        self._channels.send(channel_id, encoded_frames.presence(channel_id, user_id, online=False))
        if self._is_present(channel_id, user_id):
            # Who came back in that very moment may have been announced before this frame.
            self._come_online(channel_id, user_id)
            self._channels.send(
                channel_id, encoded_frames.presence(channel_id, user_id, online=True)
            )

    def _settle_all(self, changes: Iterable[Change]) -> "dict[_Outcome, list[Change]]":
        items = list(changes)
        settled: dict[_Outcome, list[Change]] = {outcome: [] for outcome in _Outcome}
        for change, outcome in zip(items, self._threads.map(self._settle, items), strict=True):
            settled[outcome].append(change)
        return settled

    def _settle(self, change: Change) -> "_Outcome":
        try:
            if self._is_present(change.channel_id, change.user_id):
                came = change.arrived and self._come_online(change.channel_id, change.user_id)
                return _Outcome.CAME if came else _Outcome.NOTHING
            left = change.mark is not None and self._mark(change, change.mark)
        except RepositoryError as error:
            log.error("presence unsettled", error=type(error).__name__)
            return _Outcome.FAILED
        return _Outcome.LEFT if left else _Outcome.NOTHING

    def _announce(self, changes: Iterable[Change]) -> None:
        arrivals: dict[str, list[bytes]] = defaultdict(list)
        for change in changes:
            frame = encoded_frames.presence(change.channel_id, change.user_id, online=True)
            arrivals[change.channel_id].append(frame)
        sending = [
            self._threads.submit(self._channels.send, channel_id, *some)
            for channel_id, some in arrivals.items()
        ]
        for each in sending:
            if (error := each.exception()) is not None:
                log.error("presence unannounced", error=type(error).__name__)

    def _is_present(self, channel_id: str, user_id: str) -> bool:
        rows = self.repository.iterate(
            Query(
                table=Table.CONNECTIONS,
                partition=channel_id,
                sort=SortPrefix(keys.subscription_prefix(user_id)),
                consistent=True,
            )
        )
        moment = epoch_seconds()
        subscriptions = map(Subscription.model_validate, rows)
        return any(row.state == "live" and row.expires_at > moment for row in subscriptions)

    def _come_online(self, channel_id: str, user_id: str) -> bool:
        """False for who was online already."""
        key = keys.presence_key(channel_id, user_id)
        expiry = epoch_seconds() + ROW_SECONDS
        try:
            self.repository.put(
                Table.CONNECTIONS, {**key, "ttl": expiry}, condition=NotExists("channel_id")
            )
        except ConditionFailedError as error:
            self._renew(key, error.item, expiry)
            return False
        return True

    def _renew(self, key: Key, item: Item | None, expiry: int) -> None:
        """Keeps TTL from taking the row of somebody who is here day and night."""
        ttl = 0 if item is None else item.get("ttl", 0)
        if isinstance(ttl, int) and ttl < expiry - ROW_SECONDS // 2:
            self.repository.update(Table.CONNECTIONS, key, Update(set={"ttl": expiry}))

    def _mark(self, change: Change, mark: str) -> bool:
        """False for who was offline already."""
        try:
            self.repository.update(
                Table.CONNECTIONS,
                keys.presence_key(change.channel_id, change.user_id),
                Update(set={"departure": mark}),
                condition=Exists("channel_id"),
            )
        except ConditionFailedError:
            return False
        return True


class _Outcome(Enum):
    CAME = auto()
    LEFT = auto()
    NOTHING = auto()
    FAILED = auto()
