"""What channels were told of who is there: rows `(presence#C, U)` (docs/adr/0054)."""

from collections.abc import Callable, Collection, Mapping

from commons import keys
from commons.dal import Compare, Condition, Exists, IRepository, NotExists, Table, Update, all_of
from commons.dynamodb.exceptions import ConditionFailedError
from commons.ids import new_subscription_id
from commons.records.base import StoredModel
from commons.services.base import BaseService
from workers_presence.schemas import ChannelUser, Check


class Told(StoredModel):
    """What a channel was told of a user. No row: `offline`, or nothing ever.

    Attributes:
        said: False while it is being said, and for ever where whoever said it died: some of the
            channel know it, some do not. A row of an older release counts as such.
        online: what was said.
        missed: connections that did not take it.
        turn: another one each time that something is being said.
        since: epoch milliseconds since when somebody has been waiting for it.
        departure: the mark of the last departure that was noted.
    """

    said: bool = False
    online: bool = True
    missed: frozenset[str] = frozenset()
    turn: str | None = None
    since: int = 0
    departure: str | None = None

    @property
    def is_settled(self) -> bool:
        """Everybody knows it: `online`, as `offline` leaves no row."""
        return self.said and not self.missed

    def left_after(self, mark: str) -> bool:
        """Whether a later departure than `mark` was noted: sequence numbers are numbers."""
        later = self.departure
        return later is not None and (len(later), later) > (len(mark), mark)


class ToldService(BaseService):
    """Reads and writes those rows. Whoever says something takes a turn, says it, ends the turn.

    Args:
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        clock: Callable[[], int],
    ) -> None:
        super().__init__(repository)
        self._clock = clock

    def read(self, users: Collection[ChannelUser]) -> dict[ChannelUser, Told]:
        """One call a hundred."""
        items = self.repository.batch_get(
            Table.CONNECTIONS, [keys.presence_key(*user) for user in users], consistent=True
        )
        users_by_key = {_key_values(keys.presence_key(*user)): user for user in users}
        return {users_by_key[_key_values(item)]: Told.model_validate(item) for item in items}

    def note_departure(self, check: Check) -> None:
        """Lets an earlier departure that is not checked yet know of a later one.

        Where there is no row it makes one: nobody was told `online`, but whoever subscribed while
        the user was there read it in the ack.
        """
        noted = Update(set={"departure": check.mark})
        self.repository.update(Table.CONNECTIONS, keys.presence_key(*check.user), noted)

    def begin(self, user: ChannelUser, before: Told | None) -> Told | None:
        """Takes the turn; None where somebody else took one since `before` was read."""
        waits_already = before is not None and not before.is_settled
        since = before.since if before is not None and waits_already else self._clock()
        taken = {"turn": new_subscription_id(), "said": False, "since": since}
        try:
            item = self.repository.update(
                Table.CONNECTIONS,
                keys.presence_key(*user),
                # The rows of an older release had a TTL.
                Update(set=taken, remove=["ttl", "missed"]),
                condition=NotExists("channel_id") if before is None else _is_turn(before),
            )
        except ConditionFailedError:
            return None
        return Told.model_validate(item)

    def end(self, user: ChannelUser, turn: Told, *, online: bool, missed: frozenset[str]) -> bool:
        """Notes what was said, and who did not take it; False where it is not over.

        Somebody took another turn, or a departure was noted, whose check has to find the row.
        """
        key, is_mine = keys.presence_key(*user), _is_turn(turn)
        is_last: Condition = NotExists("departure")
        if turn.departure is not None:
            is_last = Compare("departure", "=", turn.departure)
        said = {"said": True, "online": online, **({"missed": missed} if missed else {})}
        try:
            if not online and not missed:
                self.repository.delete(Table.CONNECTIONS, key, condition=all_of(is_mine, is_last))
            else:
                self.repository.update(Table.CONNECTIONS, key, Update(set=said), condition=is_mine)
        except ConditionFailedError:
            return False
        return True


def _is_turn(told: Told) -> Condition:
    """The row is there, and as it was when that turn was taken."""
    if told.turn is None:
        return all_of(Exists("channel_id"), NotExists("turn"))
    return Compare("turn", "=", told.turn)


def _key_values(item: Mapping[str, object]) -> tuple[object, object]:
    return item["channel_id"], item["sk"]
