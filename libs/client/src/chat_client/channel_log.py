"""One channel's events, from whatever arrives to each once and in order. Pure: no I/O, no clock.

The log is numbered 1, 2, 3 … without a gap. So one number says what is known, `position`: all
events up to it were handed on. What comes next is `position + 1`, whatever arrives when; a higher
number shows a gap, which `sync` fills. `docs/adr/0030` has the drawing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chat_client.models import Event

SYNC_LIMIT: Final = 100
"""Events a `sync` answers at most."""

AHEAD_LIMIT: Final = 200
"""Events kept that came before those in front of them; more are asked for again."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    after: int


@dataclass(frozen=True, slots=True)
class Sync:
    after: int
    limit: int


type Question = Subscribe | Sync


class ChannelLog:
    """What is known of a channel's log, and what must be asked.

    Args:
        after: the last event that the consumer has.
        room_for_sync: free places in the consumer's buffer below which no page is asked for.

    Attributes:
        position: the last event that was handed on.
        head: the last event that is known to exist.
        is_live: subscribed on the present connection: pushes arrive.
        paused: the consumer does not read; nothing is taken until `resume`.
    """

    def __init__(self, after: int, *, room_for_sync: int = SYNC_LIMIT) -> None:
        self.position = after
        self.head = after
        self.paused = False
        self._room_for_sync = room_for_sync
        self.is_live = False
        self._asked: Question | None = None
        self._ahead: dict[int, Event] = {}
        self._refused = False

    @property
    def has_gap(self) -> bool:
        return self.head > self.position

    def ask(self, room: int) -> Question | None:
        """What to ask the server now, if anything; nothing while a question is open.

        Args:
            room: free places in the consumer's buffer.
        """
        if self._asked is not None:
            return None
        if not self.is_live:
            self._asked = Subscribe(self.position)
        elif self.has_gap and not self.paused and room >= self._room_for_sync:
            self._asked = Sync(self.position, min(SYNC_LIMIT, room))
        return self._asked

    def detached(self) -> None:
        """The connection, or the subscription on it, is gone: subscribe again from here."""
        self.is_live = False
        self._asked = None

    def failed(self) -> None:
        """The open question got no answer that helps; the same may be asked again."""
        self._asked = None

    def subscribed(self, through: int | None, has_more: bool | None) -> None:
        self.is_live = True
        self._asked = None
        if through is not None:
            self.saw(through + 1 if has_more else through)

    def synced(
        self, events: Sequence[Event], last_seq: int, has_more: bool, room: int
    ) -> list[Event]:
        """A page of the log: answers what is to be handed on."""
        self._asked = None
        self.saw(last_seq)
        if has_more and events:
            self.saw(events[-1].seq + 1)
        return self._take(events, room)

    def pushed(self, events: Sequence[Event], room: int) -> list[Event]:
        """What the server pushed, in any order, any number of times: what is to be handed on.

        A consumer that has everything but what waits in its full buffer is too slow: `paused` is
        set. One that is still catching up is not; the rest is asked for when there is room.
        """
        caught_up = self.is_live and not self.has_gap
        taken = self._take(events, room)
        if caught_up and self._refused:
            self.paused = True
        return taken

    def saw(self, head: int) -> None:
        """The log reaches at least to `head`."""
        self.head = max(self.head, head)

    def resume(self) -> None:
        """The consumer reads again."""
        self.paused = False

    def _take(self, events: Sequence[Event], room: int) -> list[Event]:
        taken: list[Event] = []
        self._refused = False
        for event in sorted(events, key=lambda event: event.seq):
            self.saw(event.seq)
            if event.seq > self.position + 1:
                self._keep_ahead(event)
            elif event.seq == self.position + 1:
                self._hand_on(event, taken, room)
                self._hand_on_what_follows(taken, room)
        return taken

    def _hand_on_what_follows(self, taken: list[Event], room: int) -> None:
        while not self._refused and (event := self._ahead.get(self.position + 1)) is not None:
            self._hand_on(event, taken, room)

    def _hand_on(self, event: Event, taken: list[Event], room: int) -> None:
        self._refused = self.paused or len(taken) >= room
        if not self._refused:
            self._ahead.pop(event.seq, None)
            taken.append(event)
            self.position = event.seq

    def _keep_ahead(self, event: Event) -> None:
        if len(self._ahead) < AHEAD_LIMIT and not self.paused:
            self._ahead[event.seq] = event
