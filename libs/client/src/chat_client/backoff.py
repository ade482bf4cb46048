"""How long to wait before another try."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_EXPONENT = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: anything between 0 and a limit that doubles with each failure.

    Attributes:
        base: seconds, the limit after the first failure.
        cap: seconds, the limit after any number of them.
    """

    base: float
    cap: float
    uniform: Callable[[float, float], float] = random.uniform

    def wait(self, failures: int) -> float:
        exponent = min(max(failures, 1) - 1, MAX_EXPONENT)
        return self.uniform(0.0, min(self.cap, self.base * 2.0**exponent))


def retry_after_of(header: str | None) -> float | None:
    """The seconds of a `Retry-After` header, which holds them or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
