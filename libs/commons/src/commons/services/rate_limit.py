"""How fast a user may post: a bucket of tokens, one row a user."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import (
    Compare,
    Condition,
    IRepository,
    Item,
    NotExists,
    Table,
    Update,
    all_of,
    any_of,
)
from commons.dynamodb.exceptions import ConditionFailedError
from commons.errors import TooManyRequestsError
from commons.services.base import BaseService

BURST_SECONDS: Final = 2
"""The bucket holds what two seconds refill: 40 posts at 20 a second."""

ROW_SECONDS: Final = 24 * 3_600
_MAX_REMEMBERED: Final = 10_000
_TRIES: Final = 8


@dataclass(frozen=True, slots=True)
class _Try:
    """One form of the write; which of the two holds depends on whether the bucket is full."""

    update: Update
    condition: Condition


class PostRateService(BaseService):
    """Takes one token a post. Costs one call and one write unit as a rule.

    The row holds `full_at`, the moment (epoch ms) at which the bucket would be full again: it
    starts anew from now where that has passed, and grows by a post's share where it has not. The
    write for each case fails in the other, so a warm function remembers which it saw last.

    Args:
        rate: posts a second a user; 0: unlimited, and no call.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        rate: int,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository)
        self._rate = rate
        self._clock = clock
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def take(self, user_id: str) -> None:
        """Counts a post.

        Raises:
            TooManyRequestsError: the bucket is empty.
        """
        if self._rate <= 0:
            return
        for _ in range(_TRIES):
            moment = self._clock()
            is_full = self._full_at.get(user_id, 0) <= moment
            attempt = self._from_full(moment) if is_full else self._from_partly_used(moment)
            try:
                item = self.repository.update(
                    Table.CHANNELS,
                    keys.rate_key(user_id),
                    attempt.update,
                    condition=attempt.condition,
                )
            except ConditionFailedError as error:
                full_at = _full_at(error.item)
                self._remember(user_id, full_at)
                self._require_token(full_at, moment)
                continue
            self._remember(user_id, _full_at(item))
            return
        raise TooManyRequestsError("You post faster than this service takes it.")

    @property
    def _post_milliseconds(self) -> int:
        return max(1, 1_000 // self._rate)

    @property
    def _bucket_milliseconds(self) -> int:
        return self._post_milliseconds * self._rate * BURST_SECONDS

    def _from_full(self, moment: int) -> _Try:
        update = Update(
            set={
                "full_at": moment + self._post_milliseconds,
                "ttl": moment // 1_000 + ROW_SECONDS,
            }
        )
        return _Try(update, any_of(NotExists("full_at"), Compare("full_at", "<=", moment)))

    def _from_partly_used(self, moment: int) -> _Try:
        latest = moment + self._bucket_milliseconds - self._post_milliseconds
        return _Try(
            Update(add={"full_at": self._post_milliseconds}),
            all_of(Compare("full_at", ">", moment), Compare("full_at", "<=", latest)),
        )

    def _require_token(self, full_at: int, moment: int) -> None:
        wait = full_at + self._post_milliseconds - self._bucket_milliseconds - moment
        if wait > 0:
            raise TooManyRequestsError(
                f"At most {self._rate} posts a second.", retry_after=-(-wait // 1_000)
            )

    def _remember(self, user_id: str, full_at: int) -> None:
        self._full_at[user_id] = full_at
        self._full_at.move_to_end(user_id)
        if len(self._full_at) > _MAX_REMEMBERED:
            self._full_at.popitem(last=False)


def _full_at(item: Item | None) -> int:
    return 0 if item is None else cast("int", item.get("full_at", 0))
