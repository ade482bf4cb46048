"""Tokens a channel and a user may spend in a day: set aside before, settled after."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from commons import keys
from commons.clock import now
from commons.dal import (
    Compare,
    Condition,
    IRepository,
    Key,
    NotExists,
    Table,
    Update,
    UpdateWrite,
    Write,
    any_of,
)
from commons.records.generation import OpenGeneration
from commons.records.spend import NO_COST, Cost, Reservation
from commons.services.base import BaseService

KEPT_DAYS: Final = 8
"""How long a day's budget stays after it; the sums of `usage` stay as long as the channel."""


BYTES_PER_TOKEN: Final = 3
"""Errs on the safe side: English has four and more, other scripts about three (UTF-8)."""


def estimate_tokens(text: str) -> int:
    return len(text.encode()) // BYTES_PER_TOKEN + 1


def estimated(input_tokens: int, text: str) -> Cost:
    """What one attempt has cost that wrote `text` and that nobody counted."""
    output_tokens = estimate_tokens(text) if text else 0
    return Cost(requests=1, input_tokens=input_tokens, output_tokens=output_tokens)


def cost_of_lost_attempt(row: OpenGeneration) -> Cost:
    """Of a worker that died: it had asked a model if tokens were set aside and not settled."""
    if row.reservation is None or row.unsettled != NO_COST:
        return NO_COST
    return estimated(row.reservation.input_tokens, _new_text(row))


def owed(row: OpenGeneration) -> Cost:
    """What a reply that nobody writes has cost beyond what is settled.

    Whoever gave it back says so in the row; whoever died with it could not.
    """
    if row.finished is None:
        lost = cost_of_lost_attempt(row) if row.status == "running" else NO_COST
        return row.unsettled + lost
    usage = row.finished.usage
    if usage is not None:
        return row.unsettled + Cost(
            requests=1, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens
        )
    input_tokens = row.reservation.input_tokens if row.reservation is not None else 0
    return row.unsettled + estimated(input_tokens, _new_text(row))


def _new_text(row: OpenGeneration) -> str:
    """Of the request that no step has settled."""
    return row.text.removeprefix(row.text_of_steps)


class BudgetSpentError(Exception):
    """What an attempt may cost does not fit into the day."""


class SpendService(BaseService):
    """Says which writes set tokens aside and settle them; the caller puts them into a transaction.

    A limit is never passed: what is set aside is the estimate of the prompt and the longest answer,
    and it counts as spent until it is settled. Both limits are rows, so that however many ask at
    once meet in them.

    Args:
        channel_tokens: a channel's for a day; 0 sets no limit.
        user_tokens: those of who asks; 0 sets no limit.
        clock: which day it is.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        channel_tokens: int = 0,
        user_tokens: int = 0,
        clock: Callable[[], datetime] = now,
    ) -> None:
        super().__init__(repository)
        self._limits = {"channel": channel_tokens, "user": user_tokens}
        self._clock = clock

    def reservation(
        self, user_id: str, model_id: str, *, input_tokens: int, max_tokens: int
    ) -> Reservation:
        """For one attempt, on today's account."""
        return Reservation(
            day=self._clock().astimezone(UTC).date().isoformat(),
            user_id=user_id,
            model_id=model_id,
            input_tokens=input_tokens,
            tokens=input_tokens + max_tokens,
        )

    def reserving(
        self, channel_id: str, new: Reservation, *, old: Reservation | None, cost: Cost
    ) -> list[Write]:
        """Sets `new` aside in place of `old`, which came to `cost`.

        A condition of these writes that does not hold says that the day is spent.

        Raises:
            BudgetSpentError: not even an empty day would hold it.
        """
        writes: list[Write] = []
        if old is not None and old.day != new.day:
            writes += self.settling(channel_id, old, cost)
            old, cost = None, NO_COST
        else:
            writes += _counting(channel_id, old or new, cost)
        change = new.tokens + cost.tokens - (0 if old is None else old.tokens)
        for scope, key in _budgets(channel_id, new):
            limit = self._limits[scope]
            if limit and change > limit:
                raise BudgetSpentError
            condition: Condition | None = None
            if limit and change > 0:
                fits = Compare("tokens", "<=", limit - change)
                condition = any_of(NotExists("tokens"), fits)
            writes += _changing(key, change, new.day, condition)
        return writes

    def settling(self, channel_id: str, reservation: Reservation, cost: Cost) -> list[Write]:
        """Puts `cost` in the place of what was set aside; there is no condition that could fail."""
        change = cost.tokens - reservation.tokens
        writes = _counting(channel_id, reservation, cost)
        for _, key in _budgets(channel_id, reservation):
            writes += _changing(key, change, reservation.day, None)
        return writes


def _budgets(channel_id: str, reservation: Reservation) -> Iterator[tuple[str, Key]]:
    yield "channel", keys.budget_key("channel", channel_id, reservation.day)
    yield "user", keys.budget_key("user", reservation.user_id, reservation.day)


def _changing(key: Key, change: int, day: str, condition: Condition | None) -> list[Write]:
    if change == 0:
        return []
    kept_until = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=KEPT_DAYS)
    update = Update(add={"tokens": change}, set={"ttl": int(kept_until.timestamp())})
    return [UpdateWrite(Table.CHANNELS, key, update, condition)]


def _counting(channel_id: str, reservation: Reservation, cost: Cost) -> list[Write]:
    """Adds to the sums that `usage` shows."""
    if cost == NO_COST:
        return []
    update = Update(
        set={
            "day": reservation.day,
            "user_id": reservation.user_id,
            "model_id": reservation.model_id,
        },
        add={
            "requests": cost.requests,
            "input_tokens": cost.input_tokens,
            "output_tokens": cost.output_tokens,
        },
    )
    key = keys.usage_key(channel_id, reservation.day, reservation.user_id, reservation.model_id)
    return [UpdateWrite(Table.CHANNELS, key, update)]
