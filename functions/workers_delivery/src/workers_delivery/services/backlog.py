"""Which rooms have events waiting in the queue: what follows waits behind them (docs/adr/0062)."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from commons import keys
from commons.dal import Compare, IRepository, Table, any_of
from commons.dynamodb.exceptions import ConditionFailedError
from commons.records.connection import Backlog
from commons.services.base import BaseService
from commons.services.subscription_writes import IS_FREE

_KEPT_SECONDS: Final = 86_400
"""As long as the stream holds a record: what was to be delivered before is given up by then."""


class BacklogService(BaseService):
    """Notes and clears a room's backlog; whoever reads the room's first page has it.

    Args:
        epoch: milliseconds.
    """

    def __init__(self, repository: IRepository | None = None, *, epoch: Callable[[], int]) -> None:
        super().__init__(repository)
        self._epoch = epoch

    def note(self, channel_id: str, through: int) -> None:
        """Says that events up to this one wait, before they are sent to the queue.

        Raises:
            UnavailableError: storage did not answer; it may be noted all the same.
        """
        ttl = self._epoch() // 1_000 + _KEPT_SECONDS
        item = Backlog(backlog_through=through).to_item(channel_id, ttl=ttl)
        is_less = any_of(IS_FREE, Compare("backlog_through", "<", through))
        with suppress(ConditionFailedError):  # what waits reaches further already
            self.repository.put(Table.CONNECTIONS, item, condition=is_less)

    def clear(self, channel_id: str, through: int) -> None:
        """Says that events up to this one wait no longer; later ones that do are still said to.

        Raises:
            UnavailableError: storage did not answer.
        """
        key = keys.backlog_key(channel_id)
        is_all = Compare("backlog_through", "<=", through)
        with suppress(ConditionFailedError):  # there is none, or more has come to it
            self.repository.delete(Table.CONNECTIONS, key, condition=is_all)
