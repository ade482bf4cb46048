"""Who writes a reply: one worker at a time, by a lease with a fencing number."""

from dataclasses import dataclass
from typing import Final

from commons import keys
from commons.clock import epoch_milliseconds
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
    all_of,
    any_of,
)
from commons.dynamodb.exceptions import ConditionFailedError
from commons.records.generation import ChannelCancels, GenerationRecord, GenerationStatus
from commons.schemas.generation import GenerationRequest
from commons.services.base import BaseService

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


class LeaseLostError(Exception):
    """Another worker has taken the reply over, or has ended it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write one reply.

    Attributes:
        row: as it was claimed: a dead worker's text, what was cancelled before.
    """

    request: GenerationRequest
    row: GenerationRecord

    @property
    def fence(self) -> int:
        return self.row.fence

    @property
    def is_takeover(self) -> bool:
        return self.row.fence > 1

    @property
    def first_index(self) -> int:
        """Of this worker's deltas: the claim has reserved from here on, 0 for the first one."""
        return self.row.reserved_index - INDEXES_RESERVED

    @property
    def key(self) -> Key:
        request = self.request
        return keys.generation_key(request.channel_id, request.question_seq, request.generation)


class LeasesService(BaseService):
    """Claims, renews and ends generations.

    Args:
        seconds: how long a claim holds without a heartbeat.
    """

    def __init__(
        self, repository: IRepository | None = None, *, seconds: float = LEASE_SECONDS
    ) -> None:
        super().__init__(repository)
        self._seconds = seconds

    def claim(self, request: GenerationRequest) -> Claim | None:
        """The right to write the reply; None where it has ended already.

        Raises:
            LeaseHeldError: another worker is at it.
        """
        now = epoch_milliseconds()
        free = any_of(
            NotExists("pk"),
            Compare("status", "=", "queued"),
            Compare("status", "=", "unclaimed"),
            all_of(Compare("status", "=", "running"), Compare("lease_until", "<=", now)),
        )
        update = Update(
            set={
                "channel_id": request.channel_id,
                "question_seq": request.question_seq,
                "generation": request.generation,
                "status": "running",
                "lease_until": self._lease_end(now),
            },
            # A worker that dies before its first heartbeat has sent deltas too.
            add={"fence": 1, "reserved_index": INDEXES_RESERVED},
        )
        key = keys.generation_key(request.channel_id, request.question_seq, request.generation)
        try:
            item = self.repository.update(Table.CHANNELS, key, update, condition=free)
        except ConditionFailedError as error:
            row = GenerationRecord.model_validate(error.item)
            if not row.is_open:
                return None
            raise LeaseHeldError(max(0.0, (row.lease_until - now) / 1000)) from None
        return Claim(request, GenerationRecord.model_validate(item))

    def observe(self, claim: Claim) -> bool:
        """Whether the reply was cancelled; one consistent read of two rows.

        Raises:
            LeaseLostError: the claim holds no more.
        """
        cancel_key = keys.cancel_key(claim.request.channel_id)
        items = self.repository.batch_get(Table.CHANNELS, [claim.key, cancel_key], consistent=True)
        rows = {item["sk"]: item for item in items}
        own = rows.get(claim.key["sk"])
        if own is None:
            raise LeaseLostError
        row = GenerationRecord.model_validate(own)
        if row.fence != claim.fence or row.status != "running":
            raise LeaseLostError
        return row.is_cancelled(ChannelCancels.model_validate(rows.get(cancel_key["sk"], {})))

    def beat(self, claim: Claim, *, text: str, next_index: int) -> None:
        """Renews the lease and lays down what was written so far.

        Raises:
            LeaseLostError: the claim holds no more.
        """
        update = Update(
            set={
                "lease_until": self._lease_end(epoch_milliseconds()),
                "text": text,
                "reserved_index": next_index + INDEXES_RESERVED,
            }
        )
        self._change(claim, update)

    def release(self, claim: Claim) -> None:
        """Lets another worker claim the reply at once.

        Raises:
            LeaseLostError: the claim holds no more.
        """
        self._change(claim, Update(set={"lease_until": 0}))

    def abandon(self, claim: Claim) -> None:
        """Ends a generation without an event: its channel is gone.

        Raises:
            LeaseLostError: the claim holds no more.
        """
        self._change(claim, _ending("failed"))

    def end(self, claim: Claim, status: GenerationStatus) -> Write:
        """The write that ends the generation, for the transaction that appends its event."""
        return UpdateWrite(Table.CHANNELS, claim.key, _ending(status), _held(claim))

    def _change(self, claim: Claim, update: Update) -> None:
        try:
            self.repository.update(Table.CHANNELS, claim.key, update, condition=_held(claim))
        except ConditionFailedError:
            raise LeaseLostError from None

    def _lease_end(self, now: int) -> int:
        return now + int(self._seconds * 1000)


def _held(claim: Claim) -> Condition:
    return all_of(Compare("fence", "=", claim.fence), Compare("status", "=", "running"))


def _ending(status: GenerationStatus) -> Update:
    return Update(set={"status": status}, remove=("text", "lease_until", "reserved_index"))
