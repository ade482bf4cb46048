"""What is to be done later, as the channels table holds it (docs/adr/0021)."""

from typing import Final, Literal, Self

from commons import keys
from commons.dal.interface import DeleteWrite, Key, PutWrite, Table, Write
from commons.records.base import StoredModel
from commons.records.generation import OpenGeneration
from commons.records.tool import ToolCallRecord

type TimerKind = Literal["channel.clear", "generation.watch", "approval.expire", "calls.empty"]

CLEARING_SECONDS: Final = 60
"""Within that the call that deleted a channel clears it by itself."""

EMPTYING_SECONDS: Final = 60
"""Within that the call that deleted a message empties its calls of tools by itself."""

WATCH_SECONDS: Final = 30
"""A worker that died has lost its lease by then."""

MAX_WATCH_SECONDS: Final = 600
"""A reply that was woken in vain is woken again after twice as long, and after this at most: where
workers lag behind, more messages would only lengthen their queue."""


class TimerRecord(StoredModel):
    """A row `(timer#shard, due#kind#subject)`, written in the transaction of what it watches.

    Attributes:
        kind: says what is to be done; a newer version may write others.
        subject: what it is about, in the kind's own terms.
        due: epoch seconds.
        tries: how often it could not be done.
        wakes: how often it has woken a worker, and none came.
    """

    kind: str
    subject: str
    due: int
    tries: int = 0
    wakes: int = 0

    @classmethod
    def of(cls, kind: TimerKind, subject: str, *, due: int) -> Self:
        return cls(kind=kind, subject=subject, due=due)

    @classmethod
    def of_deleted_channel(cls, channel_id: str, now: int) -> Self:
        """Clears what the deletion of a channel leaves."""
        return cls.of("channel.clear", channel_id, due=now + CLEARING_SECONDS)

    @classmethod
    def of_generation(cls, row: OpenGeneration, now: int, *, wakes: int = 0) -> Self:
        """Wakes a worker for what nobody writes, and ends what nobody waits for any more."""
        subject = f"{row.channel_id}#{row.question_seq}#{row.generation}"
        pause = min(WATCH_SECONDS * 2**wakes, MAX_WATCH_SECONDS)
        timer = cls.of("generation.watch", subject, due=now + pause)
        return timer.model_copy(update={"wakes": wakes})

    @classmethod
    def of_approval(cls, call: ToolCallRecord) -> Self:
        """Ends the wait for a decision."""
        due = -(-call.expires_at // 1_000)
        return cls.of("approval.expire", f"{call.channel_id}#{call.call_id}", due=due)

    @classmethod
    def of_deleted_message(
        cls, channel_id: str, question_seq: int, generation: int | None, now: int
    ) -> Self:
        """Empties what tools were asked, and said, for a question or for one reply to it."""
        subject = f"{channel_id}#{question_seq}#{generation or ''}"
        return cls.of("calls.empty", subject, due=now + EMPTYING_SECONDS)

    def write(self) -> Write:
        return PutWrite(Table.CHANNELS, {**self.key, **self.model_dump()})

    def removal(self) -> Write:
        return DeleteWrite(Table.CHANNELS, self.key)

    @property
    def key(self) -> Key:
        return keys.timer_key(self.kind, self.subject, self.due)
