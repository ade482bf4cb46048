"""Tells channels who came and who left, until everybody who listens knows (docs/adr/0054)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from commons.dal import IRepository
from commons.errors import UnavailableError
from commons.observability import log
from commons.realtime import encoded_frames
from commons.realtime.broadcaster import IBroadcaster, Post, one_per_connection
from commons.records.connection import Subscription
from commons.services.base import BaseService
from commons.services.channel_broadcast import ChannelBroadcastService
from workers_presence.schemas import ChannelUser, Check
from workers_presence.services.rooms import Room, RoomsService
from workers_presence.services.told import Told, ToldService

PUSH_SECONDS: Final = 3.0
"""Ten checks of channels with 200 listeners are 2,000 frames: half a second of one worker."""

CLOSED_AFTER_MILLISECONDS: Final = 10_000
"""Whoever takes nothing for so long is closed, comes back, and hears of it in the ack."""

NEWCOMER_MILLISECONDS: Final = 60_000
"""Whoever subscribed longer ago does so after any departure that is being checked now."""

SOON_SECONDS: Final = 1
"""Until a user is checked again of whom somebody else is telling too, or whom not all could be told
in the time of a push, though nobody was slow."""

AGAIN_SECONDS: Final = 5
LATE_SECONDS: Final = 60
"""Until what was not stored, or not taken, is tried again: the older, the later."""

_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class _Saying:
    """What a channel is being told of a user.

    Attributes:
        may_have_left: False before the 5 s after a departure are over.
        before: what it was told until then.
        turn: the row, as long as nobody else says something of the user.
        room: as it was seen after the turn was taken.
    """

    user: ChannelUser
    may_have_left: bool
    before: Told | None
    turn: Told
    room: Room

    @property
    def online(self) -> bool:
        was_online = self.before is not None and self.before.said and self.before.online
        return self.user.user_id in self.room.there or (was_online and not self.may_have_left)

    @property
    def frame(self) -> bytes:
        return encoded_frames.presence(*self.user, online=self.online)

    def audience(self, listeners: Iterable[Subscription]) -> list[Subscription]:
        """Who does not know it: everybody, where it is news.

        Where it is not, those that did not take it, and those that subscribed since it was said:
        the ack told them that the user was away, if that was within the grace of a departure.
        """
        before = self.before
        if before is None and not self.online and not self.may_have_left:
            # Nobody was told that the user came; if an ack said so, a check of the departure follows.
            return []
        if before is None or not before.said or before.online != self.online:
            return list(listeners)
        said_at = max(before.since, self.turn.since - NEWCOMER_MILLISECONDS)
        return [
            each
            for each in listeners
            if each.connection_id in before.missed or (each.live_since or 0) >= said_at
        ]


class PresenceService(BaseService):
    """Compares who is there with what the channel was told, and tells it the difference.

    Args:
        broadcasts: reaches connections, and forgets those that are gone.
        broadcaster: closes those that take nothing.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        told: ToldService,
        rooms: RoomsService,
        broadcasts: ChannelBroadcastService,
        broadcaster: IBroadcaster,
        clock: Callable[[], int],
    ) -> None:
        super().__init__(repository)
        self.told = told
        self.rooms = rooms
        self.broadcasts = broadcasts
        self.broadcaster = broadcaster
        self.clock = clock
        self.threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="presence")

    def settle(self, checks: Iterable[Check]) -> dict[Check, int]:
        """Does the checks side by side; what storage or the network did raises nothing.

        Returns:
            Those that have to come again, each with the seconds until then.
        """
        by_user: dict[ChannelUser, list[Check]] = defaultdict(list)
        for check in checks:
            by_user[check.user].append(check)
        return _Round(self, by_user).run()


@dataclass(slots=True)
class _Round:
    """One `settle`: a user drops out where there is nothing to tell, or has to come `again`.

    Who is there is looked at after the turn was taken. So of two rounds that tell of the same user
    the one that looked first cannot end its turn, and what was told last was seen last.

    Attributes:
        crowded_out: connections whose turn never came, while the API served others.
    """

    presence: PresenceService
    checks: Mapping[ChannelUser, Sequence[Check]]
    again: dict[ChannelUser, int] = field(default_factory=dict)
    crowded_out: frozenset[str] = frozenset()

    def run(self) -> dict[Check, int]:
        told = self.presence.told
        rows = self._read()
        wanted = [
            user
            for user, checks in self.checks.items()
            if user not in self.again and any(_is_wanted(each, rows.get(user)) for each in checks)
        ]
        turns = self._each(wanted, lambda user: told.begin(user, rows.get(user)))
        rooms = self._look(turns)
        sayings = [
            _Saying(user, self._may_have_left(user), rows.get(user), turn, rooms[user.channel_id])
            for user, turn in turns.items()
            if user.channel_id in rooms
        ]
        untold = self._push(sayings)
        by_user = {saying.user: saying for saying in sayings if saying.user not in self.again}
        self._each(by_user, lambda user: self._end(by_user[user], untold))
        return {
            check: seconds for user, seconds in self.again.items() for check in self.checks[user]
        }

    def _read(self) -> Mapping[ChannelUser, Told]:
        try:
            return self.presence.told.read(self.checks)
        except UnavailableError as error:
            self._put_off(self.checks, error)
            return {}

    def _may_have_left(self, user: ChannelUser) -> bool:
        return any(check.mark is not None for check in self.checks[user])

    def _look(self, users: Iterable[ChannelUser]) -> dict[str, Room]:
        """The users' channels; those of one that cannot be read come again."""
        by_channel: dict[str, list[ChannelUser]] = defaultdict(list)
        for user in users:
            by_channel[user.channel_id].append(user)

        def look(channel_id: str) -> Room | None:
            some = by_channel[channel_id]
            try:
                return self.presence.rooms.look(channel_id, [user.user_id for user in some])
            except UnavailableError as error:
                self._put_off(some, error)
                return None

        rooms = zip(by_channel, self.presence.threads.map(look, by_channel), strict=True)
        return {channel_id: room for channel_id, room in rooms if room is not None}

    def _each[T](
        self, users: Iterable[ChannelUser], work: Callable[[ChannelUser], T | None]
    ) -> dict[ChannelUser, T]:
        """Side by side; where somebody else has the turn (None), the check comes again."""

        def attempt(user: ChannelUser) -> T | None:
            try:
                result = work(user)
            except UnavailableError as error:
                self._put_off([user], error)
                return None
            if result is None:
                self.again[user] = SOON_SECONDS
            return result

        users = list(users)
        results = zip(users, self.presence.threads.map(attempt, users), strict=True)
        return {user: result for user, result in results if result is not None}

    def _put_off(self, users: Iterable[ChannelUser], error: UnavailableError) -> None:
        log.warning("presence put off", error=type(error).__name__)
        self.again.update(dict.fromkeys(users, AGAIN_SECONDS))

    def _push(self, sayings: Sequence[_Saying]) -> frozenset[str]:
        """Posts what is said, a connection's frames together; answers who did not take theirs."""

        def still_listening(waiting: frozenset[str]) -> Mapping[str, Post]:
            """Whoever was removed meanwhile is told nothing, nor anybody where that cannot be said."""
            posts = one_per_connection(_posts(sayings, self._look(each.user for each in sayings)))
            return {each: posts[each] for each in waiting if each in posts}

        outcome = self.presence.broadcasts.post(
            _posts(sayings, {saying.user.channel_id: saying.room for saying in sayings}),
            budget_seconds=PUSH_SECONDS,
            revalidate=still_listening,
        )
        missed = outcome.failed | outcome.unready
        if outcome.delivered:
            self.crowded_out = outcome.untried
        listening = {each.connection_id for saying in sayings for each in saying.room.listeners}
        if len(missed) > max(outcome.delivered, len(listening) // 4):
            # That many are not slow: it is the API that serves nobody.
            return missed
        silent = outcome.failed & {
            each for saying in sayings for each in self._patience_ended(saying)
        }
        closed = self.presence.threads.map(self.presence.broadcaster.delete_connection, silent)
        return missed - {each for each, is_closed in zip(silent, closed, strict=True) if is_closed}

    def _patience_ended(self, saying: _Saying) -> frozenset[str]:
        """Who had not taken it before, and was first told long ago."""
        if self._age_milliseconds(saying) < CLOSED_AFTER_MILLISECONDS or saying.before is None:
            return frozenset()
        return saying.before.missed

    def _age_milliseconds(self, saying: _Saying) -> int:
        return self.presence.clock() - saying.turn.since

    def _end(self, saying: _Saying, untold: frozenset[str]) -> bool | None:
        audience = saying.audience(saying.room.listeners)
        missed = untold & {each.connection_id for each in audience}
        if not self.presence.told.end(
            saying.user, saying.turn, online=saying.online, missed=missed
        ):
            return None
        if missed & self.crowded_out:
            self.again[saying.user] = SOON_SECONDS
        elif missed:
            age = self._age_milliseconds(saying) // 1_000
            self.again[saying.user] = min(max(AGAIN_SECONDS, age), LATE_SECONDS)
        return True


def _is_wanted(check: Check, row: Told | None) -> bool:
    """Whether the check may find something to tell, as far as the row says."""
    if row is None:
        return check.mark is None
    return not row.is_settled if check.mark is None else not row.left_after(check.mark)


def _posts(sayings: Iterable[_Saying], rooms: Mapping[str, Room]) -> list[Post]:
    return [
        Post(each.connection_id, (saying.frame,), each.connected_at)
        for saying in sayings
        if (room := rooms.get(saying.user.channel_id)) is not None
        for each in saying.audience(room.listeners)
    ]
