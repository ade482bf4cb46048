"""An IBroadcaster that keeps what it is given: for tests of whoever sends frames."""

from collections import defaultdict
from collections.abc import Iterable

from commons.clock import epoch_milliseconds
from commons.realtime.broadcaster import (
    BUDGET_SECONDS,
    IBroadcaster,
    Outcome,
    Post,
    Revalidate,
    one_per_connection,
)
from commons.records.connection import HANDSHAKE_SECONDS


class InMemoryBroadcaster(IBroadcaster):
    """Connections that take every frame, but for those set to be gone or to fail.

    Attributes:
        frames: what each connection took, in order.
        calls: the posts of each `send`, one a connection.
        gone / failing: connections that answer 410, or never answer.
        untried: those of the failing whose turn never came.
        closed: connections that were deleted.
        is_down: the API answers nothing that it is asked.
    """

    def __init__(self) -> None:
        self.frames: dict[str, list[bytes]] = defaultdict(list)
        self.calls: list[list[Post]] = []
        self.gone: set[str] = set()
        self.failing: set[str] = set()
        self.untried: set[str] = set()
        self.closed: list[str] = []
        self.is_down = False

    def send(
        self,
        posts: Iterable[Post],
        *,
        budget_seconds: float = BUDGET_SECONDS,  # noqa: ARG002 - takes no time
        revalidate: Revalidate | None = None,
    ) -> Outcome:
        merged = one_per_connection(posts)
        self.calls.append(list(merged.values()))
        waiting = frozenset(merged.keys() & self.failing)
        if waiting and revalidate is not None:
            revised = revalidate(waiting)
            merged = {
                connection_id: (
                    revised.get(connection_id, Post(connection_id, ()))
                    if connection_id in waiting
                    else post
                )
                for connection_id, post in merged.items()
            }
        delivered = 0
        gone: set[str] = set()
        unready: set[str] = set()
        failed = {each for each in waiting & self.failing if merged[each].frames}
        young = epoch_milliseconds() - HANDSHAKE_SECONDS * 1_000
        for connection_id, post in merged.items():
            if connection_id in failed or not post.frames:
                continue
            if connection_id in self.gone:
                (unready if post.connected_at > young else gone).add(connection_id)
                continue
            self.frames[connection_id].extend(post.frames)
            delivered += 1
        return Outcome(
            delivered,
            frozenset(gone),
            frozenset(failed),
            frozenset(unready),
            frozenset(failed & self.untried),
        )

    def delete_connection(self, connection_id: str) -> bool:
        if not self.is_down:
            self.closed.append(connection_id)
        return not self.is_down

    def serves(self, connection_ids: Iterable[str]) -> bool:
        return bool(list(connection_ids)) and not self.is_down
