"""Who writes a reply: one worker at a time, by a lease with a fencing number."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import (
    Compare,
    Condition,
    IRepository,
    Item,
    Key,
    NotExists,
    Table,
    Update,
    UpdateWrite,
    all_of,
)
from commons.dynamodb.exceptions import ConditionFailedError, TransactionCanceledError
from commons.errors import ChannelNotFoundError
from commons.observability import log
from commons.records.generation import FinishedText, OpenGeneration
from commons.records.spend import Cost, Reservation
from commons.schemas.generation import GenerationRequest
from commons.services.base import BaseService
from commons.services.generation_endings import GenerationEndingsService
from commons.services.generation_hold import GenerationLostError, fenced
from commons.services.spend import BudgetSpentError, SpendService
from commons.services.tool_call_rows import ToolCallRows

LEASE_SECONDS: Final = 15.0

INDEXES_RESERVED: Final = 200
"""Deltas until the next heartbeat at most: 10 a second for a whole lease, and room."""


class LeaseHeldError(Exception):
    """Another worker writes this reply.

    Attributes:
        seconds: until its lease ends, unless it is renewed.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__("another worker holds the lease")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write one reply.

    Attributes:
        row: as it was claimed: what a dead worker laid down, what was set aside for it.
        is_takeover: the worker before died with the claim.
    """

    row: OpenGeneration
    is_takeover: bool = False

    @property
    def is_first(self) -> bool:
        return self.row.fence == 1

    @property
    def first_index(self) -> int:
        """Of this worker's deltas: the claim has reserved from here on, 0 for the first one."""
        return self.row.reserved_index - INDEXES_RESERVED


class ClaimsService(BaseService):
    """Claims, renews and gives back open generations.

    Args:
        seconds: how long a claim holds without a heartbeat.
        spend: what is set aside before a model is asked.
        endings: says whether a reply is still wanted.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        seconds: float = LEASE_SECONDS,
        spend: SpendService,
        endings: GenerationEndingsService | None = None,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository)
        self._seconds = seconds
        self._spend = spend
        self._endings = endings or GenerationEndingsService(self.repository, spend=spend)
        self._calls = ToolCallRows(self.repository)
        self._clock = clock

    def claim(self, request: GenerationRequest) -> Claim | None:
        """The right to write the reply; None where none is open, or it waits for people.

        Raises:
            LeaseHeldError: another worker is at it.
        """
        key = keys.open_generation_key(request.channel_id, request.question_seq, request.generation)
        is_queued = Compare("status", "=", "queued")
        try:
            item = self._take(key, is_queued, failed_claims=0)
        except ConditionFailedError as error:
            if error.item is None:
                return None
            row = OpenGeneration.model_validate(error.item)
            return self._resume(row) if row.status == "waiting" else self._take_over(row)
        return Claim(OpenGeneration.model_validate(item))

    def _resume(self, row: OpenGeneration) -> Claim | None:
        """The claim of a reply that has waited for people, once it waits for nobody."""
        try:
            if self._calls.waits(row) and self._is_wanted(row):
                return None
            item = self._take(row.key, fenced(row), failed_claims=0, resumed_at=self._clock())
        except (GenerationLostError, ConditionFailedError):
            log.info("reply was taken or ended meanwhile")
            return None
        return Claim(OpenGeneration.model_validate(item))

    def _is_wanted(self, row: OpenGeneration) -> bool:
        try:
            return not self._endings.is_unwanted(row)
        except ChannelNotFoundError:
            return False

    def _take_over(self, row: OpenGeneration) -> Claim | None:
        """The claim of a worker whose lease has run out."""
        now = self._clock()
        if row.status != "running":
            return None
        if row.lease_until > now:
            raise LeaseHeldError((row.lease_until - now) / 1_000)
        unchanged = all_of(fenced(row), Compare("lease_until", "<=", now))
        try:
            item = self._take(row.key, unchanged, failed_claims=1)
        except ConditionFailedError as error:
            if error.item is None:
                return None
            raise LeaseHeldError(self._seconds) from None
        return Claim(OpenGeneration.model_validate(item), is_takeover=True)

    def _take(self, key: Key, condition: Condition, *, failed_claims: int, **more: object) -> Item:
        update = Update(
            set={"status": "running", "lease_until": self._lease_end(), **more},
            # A worker that dies before its first heartbeat has sent deltas too.
            add={"fence": 1, "reserved_index": INDEXES_RESERVED, "failed_claims": failed_claims},
        )
        return self.repository.update(Table.CHANNELS, key, update, condition=condition)

    def beat(self, claim: Claim, *, text: str, next_index: int) -> None:
        """Renews the lease and lays down what was written so far, unless it is finished by now.

        A heartbeat that storage delays may arrive after the text was finished.

        Raises:
            GenerationLostError: the claim holds no more, or the text is finished.
        """
        update = {
            "lease_until": self._lease_end(),
            "text": text,
            "reserved_index": next_index + INDEXES_RESERVED,
        }
        self._change(claim, Update(set=update), NotExists("finished"))

    def lay_down(self, claim: Claim, *, text: str, finished: FinishedText) -> None:
        """Keeps a finished text: whoever comes next appends it and asks no model.

        Raises:
            GenerationLostError: the claim holds no more.
        """
        update = {
            "lease_until": self._lease_end(),
            "text": text,
            "finished": finished.model_dump(exclude_none=True),
        }
        self._change(claim, Update(set=update))

    def reserve(
        self, claim: Claim, new: Reservation, *, old: Reservation | None, cost: Cost
    ) -> None:
        """Sets aside what the next attempt may cost, and settles the one before.

        Raises:
            GenerationLostError: the claim holds no more.
            BudgetSpentError: the day has not enough left.
        """
        row = claim.row
        spending = self._spend.reserving(row.channel_id, new, old=old, cost=cost)
        update = Update(set={"reservation": new.model_dump()}, remove=("unsettled",))
        holding = UpdateWrite(Table.CHANNELS, row.key, update, fenced(row))
        try:
            self.repository.transact([holding, *spending])
        except TransactionCanceledError as error:
            is_lost, *_ = (reason.condition_failed for reason in error.reasons)
            raise GenerationLostError if is_lost else BudgetSpentError from None

    def current(self, claim: Claim) -> OpenGeneration:
        """The row as it is, consistently read.

        Raises:
            GenerationLostError: the claim holds no more.
        """
        item = self.repository.find(Table.CHANNELS, claim.row.key, consistent=True)
        row = None if item is None else OpenGeneration.model_validate(item)
        if row is None or (row.fence, row.status) != (claim.row.fence, "running"):
            raise GenerationLostError
        return row

    def wait(self, claim: Claim, *, next_index: int) -> None:
        """Gives the claim back until people have decided about the calls of the last step.

        Nothing is set aside meanwhile: the step has settled what its request cost.

        Args:
            claim: the claim.
            next_index: of the first delta that was not sent; who goes on begins there.

        Raises:
            GenerationLostError: the claim holds no more.
        """
        waiting = {"status": "waiting", "lease_until": 0, "reserved_index": next_index}
        self._change(claim, Update(set=waiting))

    def release(self, claim: Claim, *, unsettled: Cost, failed: bool) -> None:
        """Lets another worker claim the reply at once; what was paid stays to be settled.

        Args:
            claim: the claim.
            unsettled: what attempts have cost.
            failed: an error of ours: it counts against the question.

        Raises:
            GenerationLostError: the claim holds no more.
        """
        released = {"status": "queued", "lease_until": 0, "unsettled": unsettled.model_dump()}
        self._change(claim, Update(set=released, add={"failed_claims": int(failed)}))

    def _change(self, claim: Claim, update: Update, *conditions: Condition) -> None:
        held = all_of(fenced(claim.row), *conditions)
        try:
            self.repository.update(Table.CHANNELS, claim.row.key, update, condition=held)
        except ConditionFailedError:
            raise GenerationLostError from None

    def _lease_end(self) -> int:
        return self._clock() + int(self._seconds * 1_000)
