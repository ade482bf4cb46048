"""Errors of the storage layer. Services turn them into domain errors or let them pass to the edge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

CONDITION_FAILED: Final = "ConditionalCheckFailed"
NO_REASON: Final = "None"
CONFLICT: Final = "TransactionConflict"


class RepositoryError(Exception):
    """Storage did not do what was asked."""


class ObjectNotFoundError(RepositoryError):
    """No item has that key."""

    def __init__(self, table: str, key: Mapping[str, str | int]) -> None:
        super().__init__(f"no such item in {table}")
        self.table = table
        self.key = dict(key)


class ConditionFailedError(RepositoryError):
    """A conditional write met another state than it asked for.

    Attributes:
        item: the item as it is now; None where there is none.
    """

    def __init__(self, item: dict[str, object] | None = None) -> None:
        super().__init__("the condition of a write does not hold")
        self.item = item


@dataclass(frozen=True, slots=True)
class CancellationReason:
    """Why one write of a transaction was refused; `code` is "None" for those that were not."""

    code: str
    item: dict[str, object] | None = None

    @property
    def condition_failed(self) -> bool:
        return self.code == CONDITION_FAILED


class TransactionCanceledError(RepositoryError):
    """A transaction wrote nothing.

    Attributes:
        reasons: one for each write, in the order they were given.
    """

    def __init__(self, reasons: Sequence[CancellationReason]) -> None:
        super().__init__(f"transaction cancelled: {', '.join(reason.code for reason in reasons)}")
        self.reasons = tuple(reasons)


class StorageBusyError(RepositoryError):
    """Storage throttled the call, or kept losing it to other transactions; safe to try again."""
