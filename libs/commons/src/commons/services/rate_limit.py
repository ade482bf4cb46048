"""How fast a user may post, and tell others of reading and typing: buckets of tokens.

A bucket is one row a user, whatever number of connections and functions draw from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, cast

from commons import keys
from commons.bounded_memory import BoundedMemory
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

POST_BURST_SECONDS: Final = 2
"""The bucket of posts holds what two seconds refill: 40 posts at 20 a second."""

NOTICES_A_SECOND: Final = 10
"""Frames `typing`, and frames `read`, that a user may cause in all channels together."""

ROW_SECONDS: Final = 24 * 3_600
_MAX_REMEMBERED: Final = 10_000
_TRIES: Final = 8


type NoticeKind = Literal["typing", "read"]


@dataclass(frozen=True, slots=True)
class _Bucket:
    """What tells one kind of bucket from another.

    Attributes:
        name: of its row, among the user's.
        content: what is counted, as the refusal calls it.
        rate: tokens a second; 0: unlimited.
        burst_seconds: a full bucket holds what refills in them.
    """

    name: str
    content: str
    rate: int
    burst_seconds: int

    @property
    def token_milliseconds(self) -> int:
        return max(1, 1_000 // self.rate)

    @property
    def milliseconds(self) -> int:
        return self.token_milliseconds * self.rate * self.burst_seconds


@dataclass(frozen=True, slots=True)
class _Try:
    """One form of the write; which of the two holds depends on whether the bucket is full."""

    update: Update
    condition: Condition


class _RateService(BaseService):
    """Takes one token a call of `take`, which costs one call and one write unit as a rule.

    The row holds `full_at`, the moment (epoch ms) at which the bucket would be full again: it
    starts anew from now where that has passed, and grows by a token's share where it has not. The
    write for each case fails in the other, so a warm function remembers which it saw last. A
    bucket is never fuller than it was remembered: a refusal that follows from that costs no call.
    """

    def __init__(
        self,
        repository: IRepository | None,
        bucket: _Bucket,
        clock: Callable[[], int],
    ) -> None:
        super().__init__(repository)
        self._bucket = bucket
        self._clock = clock
        self._full_at: BoundedMemory[str, int] = BoundedMemory(_MAX_REMEMBERED)

    def take(self, user_id: str) -> None:
        """Counts one.

        Raises:
            TooManyRequestsError: the bucket is empty.
        """
        if self._bucket.rate <= 0:
            return
        for _ in range(_TRIES):
            moment = self._clock()
            remembered = self._full_at.get(user_id) or 0
            self._require_token(remembered, moment)
            is_full = remembered <= moment
            attempt = self._from_full(moment) if is_full else self._from_partly_used(moment)
            try:
                item = self.repository.update(
                    Table.CHANNELS,
                    keys.rate_key(user_id, self._bucket.name),
                    attempt.update,
                    condition=attempt.condition,
                )
            except ConditionFailedError as error:
                self._full_at.set(user_id, _full_at(error.item))
                continue
            self._full_at.set(user_id, _full_at(item))
            return
        raise self._refusal(retry_after=1)

    def _from_full(self, moment: int) -> _Try:
        update = Update(
            set={
                "full_at": moment + self._bucket.token_milliseconds,
                "ttl": moment // 1_000 + ROW_SECONDS,
            }
        )
        return _Try(update, any_of(NotExists("full_at"), Compare("full_at", "<=", moment)))

    def _from_partly_used(self, moment: int) -> _Try:
        latest = moment + self._bucket.milliseconds - self._bucket.token_milliseconds
        return _Try(
            Update(add={"full_at": self._bucket.token_milliseconds}),
            all_of(Compare("full_at", ">", moment), Compare("full_at", "<=", latest)),
        )

    def _require_token(self, full_at: int, moment: int) -> None:
        wait = full_at + self._bucket.token_milliseconds - self._bucket.milliseconds - moment
        if wait > 0:
            raise self._refusal(retry_after=-(-wait // 1_000))

    def _refusal(self, *, retry_after: int) -> TooManyRequestsError:
        return TooManyRequestsError(
            f"At most {self._bucket.rate} {self._bucket.content} a second.",
            retry_after=retry_after,
        )


class PostRateService(_RateService):
    """How fast a user may post.

    Args:
        rate: posts a second a user, with bursts of twice as many; 0: unlimited, and no call.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        rate: int,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        bucket = _Bucket("posts", "posts", rate, POST_BURST_SECONDS)
        super().__init__(repository, bucket, clock)


class NoticeRateService(_RateService):
    """How fast a user may have others told of typing, or of read marks: a bucket for each.

    Args:
        kind: `typing`, which is refused in silence, leaves `read` its own bucket.
        rate: notices a second a user, and at once; 0: unlimited, and no call.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        kind: NoticeKind,
        rate: int = NOTICES_A_SECOND,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository, _Bucket(kind, f"{kind} frames", rate, 1), clock)


def _full_at(item: Item | None) -> int:
    return 0 if item is None else cast("int", item.get("full_at", 0))
