"""Who listens to a channel, and from which event on each of them is to be served."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from commons import keys
from commons.clock import epoch_milliseconds, epoch_seconds
from commons.dal import IRepository, Table
from commons.records.connection import Subscription
from commons.schemas.event import Event, MemberLeft
from commons.services.base import BaseService
from commons.services.connections import ConnectionsService
from commons.services.event_log import EventLogService
from workers_delivery.progress import Progress
from workers_delivery.troubles import Troubles

SETTLING_MILLISECONDS: Final = 30_000
"""A subscription live for less gets the log from `live_after` on before what is new: events that
were appended while it replayed may have passed it by (docs/adr/0006)."""

MAX_CATCH_UP: Final = 1_000
"""Events read from the log for one batch of a channel; a longer gap is the client's to sync."""

MAX_HOLE: Final = 100
"""Events that the stream left out, filled in from the log."""

_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Listener:
    """A live subscription, served the events past `after`, up to `through` where that is set.

    One that `is_quiet` is not served: it failed a short while ago.
    """

    subscription: Subscription
    after: int
    through: int | None = None
    is_quiet: bool = False


@dataclass(slots=True)
class Audience:
    """What one channel's part of a batch comes to.

    Attributes:
        events: ascending; what the batch brought and what was missing before it.
        listeners: by connection.
        expired: connections past their credential's end, to be closed.
        departed: users who left, and had not been unsubscribed yet.
        read_at: when its subscriptions were read, of the monotonic clock.
    """

    channel_id: str
    events: Sequence[Event]
    listeners: dict[str, Listener] = field(default_factory=dict)
    expired: list[str] = field(default_factory=list)
    departed: frozenset[str] = frozenset()
    read_at: float = 0.0

    def events_between(self, after: int, through: int | None) -> tuple[Event, ...]:
        """Events past `after`, up to `through` where that is set."""
        return tuple(
            event
            for event in self.events
            if event.seq > after and (through is None or event.seq <= through)
        )


class AudienceService(BaseService):
    """Reads a channel's subscriptions, and from the log what they missed.

    Args:
        progress: what this worker delivered before.
        troubles: connections that it could not deliver to.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        connections: ConnectionsService | None = None,
        event_log: EventLogService | None = None,
        progress: Progress | None = None,
        troubles: Troubles | None = None,
    ) -> None:
        super().__init__(repository)
        self._connections = connections or ConnectionsService(self.repository)
        self._event_log = event_log or EventLogService(self.repository)
        self._progress = progress or Progress()
        self._troubles = troubles or Troubles()

    def gather(self, channel_id: str, events: Mapping[int, Event]) -> Audience:
        """The audience of a channel's events: one query where nothing was missed.

        Raises:
            RepositoryError: storage did not answer.
        """
        read_at = time.monotonic()
        rows = self._connections.subscriptions(channel_id, include_expired=True)
        moment = epoch_seconds()
        current = [row for row in rows if row.expires_at > moment]
        first, last = min(events), max(events)
        base = self._base(channel_id, first)
        quiet = {row.connection_id for row in current if self._troubles.is_quiet(row.connection_id)}
        after = {
            row.connection_id: (
                base if row.connection_id in quiet else self._after(row, base=base, last=last)
            )
            for row in current
        }
        start = min(after.values(), default=first - 1)
        known = dict(events)
        if current and last - start != len(events):
            known |= self._read(channel_id, after=start, through=last)
        ordered = [known[seq] for seq in sorted(known)]
        departures = self._departures(channel_id, ordered, {row.user_id for row in current})
        return Audience(
            channel_id=channel_id,
            events=ordered,
            listeners={
                row.connection_id: Listener(
                    row,
                    after=after[row.connection_id],
                    through=departures.get(row.user_id),
                    is_quiet=row.connection_id in quiet,
                )
                for row in current
            },
            expired=[row.connection_id for row in rows if row.expires_at <= moment],
            departed=frozenset(departures),
            read_at=read_at,
        )

    def still_listening(self, audience: Audience) -> frozenset[str]:
        """The audience's connections that are subscribed and unexpired at this moment.

        Raises:
            RepositoryError: storage did not answer.
        """
        rows = self._connections.subscriptions(audience.channel_id)
        return frozenset(audience.listeners.keys() & {row.connection_id for row in rows})

    def is_member(self, channel_id: str, user_id: str) -> bool:
        key = keys.member_key(channel_id, user_id)
        return self.repository.find(Table.CHANNELS, key, consistent=True) is not None

    def _base(self, channel_id: str, first: int) -> int:
        """The number before the first event that everybody is due.

        Where this worker knows that the stream left something out, that comes with it.
        """
        last = self._progress.channel(channel_id)
        if last is not None and 0 < first - 1 - last <= MAX_HOLE:
            return last
        return first - 1

    def _after(self, row: Subscription, *, base: int, last: int) -> int:
        owed = self._progress.owed_after(row)
        if owed is not None and owed < base and last - owed <= MAX_HOLE:
            return owed
        if row.live_after is None:
            return base
        reached = max(row.live_after, self._progress.subscription(row))
        if reached < base and is_settling(row) and last - reached <= MAX_CATCH_UP:
            return reached
        return max(row.live_after, base)

    def _departures(
        self, channel_id: str, events: Sequence[Event], listening: set[str]
    ) -> dict[str, int]:
        """Listening users who left and are no members now, with the number of their leaving."""
        left = {event.data.user_id: event.seq for event in events if isinstance(event, MemberLeft)}
        return {
            user_id: seq
            for user_id, seq in left.items()
            if user_id in listening and not self.is_member(channel_id, user_id)
        }

    def _read(self, channel_id: str, *, after: int, through: int) -> dict[int, Event]:
        """From the log: it knows of redactions that happened since."""
        found: dict[int, Event] = {}
        while after < through:
            page = self._event_log.read(channel_id, after=after, limit=min(_PAGE, through - after))
            found |= {event.seq: event for event in page.items}
            if not page.items:
                break
            after = page.items[-1].seq
        return found


def is_settling(row: Subscription) -> bool:
    """Whether the hand-over from replay to live may still be under way."""
    return (
        row.live_since is not None and epoch_milliseconds() - row.live_since < SETTLING_MILLISECONDS
    )
