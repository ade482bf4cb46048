"""What was acknowledged to people while workers died, to be held against the log afterwards."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.soak.socket import SoakSocket


@dataclass(frozen=True, slots=True)
class Post:
    """A message that was acknowledged; times are epoch seconds."""

    channel: str
    seq: int
    text: str
    client_message_id: str
    sent_at: float
    acked_at: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """A reply that was open when its cancel was sent.

    Attributes:
        status: as `GET …/generations` said before.
    """

    channel: str
    seq: int
    generation: int
    status: str
    listed_at: float
    acked_at: float


@dataclass(frozen=True, slots=True)
class Subscription:
    """Acknowledged by a frame or by the handshake.

    Attributes:
        after: events after it were asked for, up to `through`.
    """

    socket: "SoakSocket"
    channel: str
    acked_at: float
    after: int | None = None
    through: int = 0


@dataclass
class Notes:
    """Shared by all people; each list is only added to."""

    posts: list[Post] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    subscriptions: list[Subscription] = field(default_factory=list)
    regenerations: list[tuple[str, int]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _deltas: dict[tuple[str, int, int], list[float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def violated(self, what: str) -> None:
        with self._lock:
            self.violations.append(what)

    def heard(self, channel: str, seq: int, generation: int, at: float) -> None:
        """A delta came: whoever writes that reply lives."""
        with self._lock:
            self._deltas.setdefault((channel, seq, generation), []).append(at)

    def deltas(self, channel: str, seq: int, generation: int) -> list[float]:
        with self._lock:
            return list(self._deltas.get((channel, seq, generation), []))
