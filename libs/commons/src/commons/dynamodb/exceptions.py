"""Errors of the storage layer: the tables, and likewise queues and secrets.

Services turn the answers that they asked for (not found, condition failed, cancelled) into domain
errors. What storage did not do (`StorageUnavailableError`) they let pass: the edge answers 429 or
503, a worker hands its record back. Any other RepositoryError is a mistake of ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from commons.errors import ChatError, TooManyRequestsError, UnavailableError

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


class StorageUnavailableError(RepositoryError, UnavailableError):
    """Storage did not serve the call; the same call works later.

    A write may have been made although its answer was lost.
    """


class StorageBusyError(StorageUnavailableError):
    """Storage throttled the call, or kept losing it to other writers."""

    def as_chat_error(self) -> ChatError:
        return TooManyRequestsError("Too much is written here at once: try again.")


class StorageUnreachableError(StorageUnavailableError):
    """No answer: no connection, a connection that broke, a time-out, an internal error."""
