"""Many replies of one channel at once in one worker."""

import threading
import time
from collections.abc import Sequence

import pytest

from commons.dal import PutWrite, UpdateWrite, Write

from .conftest import Room, ScriptedModel, delivery, says

HELD_SECONDS = 0.02
"""Long enough for others to come in between, were they let."""


class _Watched:
    """Says how many writes of each kind were under way at once, at most."""

    def __init__(self, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
        self._transact = room.repository.transact
        self._lock = threading.Lock()
        self._under_way = {"end": 0, "reservation": 0}
        self.most = {"end": 0, "reservation": 0}
        monkeypatch.setattr(room.repository, "transact", self)

    def __call__(self, writes: Sequence[Write]) -> None:
        kind = _kind(writes)
        if kind is None:
            self._transact(writes)
            return
        with self._lock:
            self._under_way[kind] += 1
            self.most[kind] = max(self.most[kind], self._under_way[kind])
        time.sleep(HELD_SECONDS)
        try:
            self._transact(writes)
        finally:
            with self._lock:
                self._under_way[kind] -= 1


def _kind(writes: Sequence[Write]) -> str | None:
    for write in writes:
        if isinstance(write, PutWrite) and write.item.get("sender_kind") == "agent":
            return "end"
        if isinstance(write, UpdateWrite) and "reservation" in write.update.set:
            return "reservation"
    return None


@pytest.mark.parametrize("kind", ["end", "reservation"])
def test_replies_of_one_channel_take_turns_at_its_log_and_its_budget(
    room: Room, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    questions = [room.say("Hello") for _ in range(10)]
    worker = room.worker(ScriptedModel(*[says("Hi.")] * 10), channel_tokens=1_000_000)
    watched = _Watched(room, monkeypatch)

    undone = worker.answer([delivery(seq) for seq in questions])

    assert undone == []
    assert len(room.replies()) == 10
    assert watched.most[kind] == 1
