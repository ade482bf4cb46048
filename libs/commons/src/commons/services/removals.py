"""Who was taken off a channel a short while ago: what is still being sent is held to it."""

from collections.abc import Callable, Sequence
from typing import Final

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import IRepository, Table, Update
from commons.records.connection import Removals, Subscription
from commons.services.base import BaseService

MAX_ENTRIES: Final = 200
"""Some 4 KB; beyond that the older ones are dropped, and whoever needs them reads the room anew."""

KEPT_SECONDS: Final = 3_600
"""Far longer than anybody sends to a list of listeners that was read once."""

_SKEW_MILLISECONDS: Final = 5_000
"""Two workers' clocks."""


class RemovalsService(BaseService):
    """One small row a channel, read by one call where a room would take many.

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

    def note(self, channel_id: str, rows: Sequence[Subscription]) -> None:
        """Before these subscriptions are ended."""
        added = frozenset(row.identity for row in rows)
        item = self._update(channel_id, Update(set=self._lifetime(), add_to_set={"removed": added}))
        if len(Removals.model_validate(item).removed) > MAX_ENTRIES:
            cleared = {"removed": added, "cleared_at": self._clock(), **self._lifetime()}
            self._update(channel_id, Update(set=cleared))

    def close(self, channel_id: str) -> None:
        """Everybody is taken off a channel that was deleted."""
        self._update(channel_id, Update(set={"closed": True, **self._lifetime()}))

    def since(self, channel_id: str, began_at: int) -> Removals | None:
        """Who was taken off since a look at the room that began at `began_at` (epoch milliseconds).

        Returns:
            None where the room has to be read anew to know.
        """
        item = self.repository.find(
            Table.CONNECTIONS, keys.removals_key(channel_id), consistent=True
        )
        removals = Removals() if item is None else Removals.model_validate(item)
        return None if removals.cleared_at > began_at - _SKEW_MILLISECONDS else removals

    def _update(self, channel_id: str, update: Update) -> dict[str, object]:
        return self.repository.update(Table.CONNECTIONS, keys.removals_key(channel_id), update)

    def _lifetime(self) -> dict[str, object]:
        return {"ttl": self._clock() // 1_000 + KEPT_SECONDS}
