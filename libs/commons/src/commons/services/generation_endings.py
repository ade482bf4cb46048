"""How a generation ends: one event, in one transaction with its row and what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from commons import keys
from commons.dal import (
    Compare,
    Condition,
    ConditionCheck,
    DeleteWrite,
    Exists,
    IRepository,
    Item,
    NotExists,
    PutWrite,
    Table,
    Write,
    all_of,
    any_of,
)
from commons.dynamodb.exceptions import TransactionCanceledError
from commons.ids import AGENT_ID
from commons.records.generation import ChannelCancels, EndedGeneration, OpenGeneration
from commons.records.spend import NO_COST, Cost
from commons.schemas.event import (
    AgentFailedData,
    Event,
    EventData,
    FailureReason,
    FinishReason,
    MessageCreatedData,
    Sender,
    Usage,
)
from commons.services.base import BaseService
from commons.services.event_log import Draft, EventLogService
from commons.services.spend import SpendService

AGENT: Final = Sender(id=AGENT_ID, kind="agent")
_ROW_POSITION: Final = 0


class GenerationLostError(Exception):
    """Another worker has taken the reply over, or has ended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a generation came to, as far as its writer knows.

    Attributes:
        text: what was written.
        failure: there is no reply; `finish_reason` says nothing then.
        cost: of attempts that are not settled yet.
    """

    text: str = ""
    finish_reason: FinishReason = "stop"
    failure: FailureReason | None = None
    usage: Usage | None = None
    cost: Cost = NO_COST


CANCELLED: Final = Ending(finish_reason="cancelled")


class GenerationEndingsService(BaseService):
    """Ends open generations, once, whoever else tries.

    A cancel that was answered before the event is appended wins, and so does a deletion of the
    question: both are conditions of the transaction that appends it.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        event_log: EventLogService | None = None,
        spend: SpendService | None = None,
    ) -> None:
        super().__init__(repository)
        self._event_log = event_log or EventLogService(self.repository)
        self._spend = spend or SpendService(self.repository)

    def end(self, row: OpenGeneration, ending: Ending) -> Event:
        """Appends what the generation came to, for who holds it as `row` says.

        Raises:
            GenerationLostError: somebody else holds it, or has ended it.
            ChannelNotFoundError: the channel was deleted.
        """

        def prepare() -> Draft:
            question = self._event_log.get_message(row.channel_id, row.question_seq)
            if question.data.redacted:
                return self._draft(row, CANCELLED, ending.cost, [])
            if ending.finish_reason != "cancelled" and self.is_cancelled(row):
                cancelled = Ending(text=ending.text, finish_reason="cancelled", usage=ending.usage)
                return self._draft(row, cancelled, ending.cost, [_undeleted(row)])
            checks = [_undeleted(row)]
            if ending.finish_reason != "cancelled":
                checks.append(_uncancelled(row))
            return self._draft(row, ending, ending.cost, checks)

        return self._event_log.append(row.channel_id, prepare)

    def forget(self, row: OpenGeneration, cost: Cost = NO_COST) -> None:
        """Ends a generation without an event: its channel is gone.

        Raises:
            GenerationLostError: somebody else holds it, or has ended it.
        """
        removal = DeleteWrite(Table.CHANNELS, row.key, _held(row))
        try:
            self.repository.transact([removal, *self._settling(row, cost)])
        except TransactionCanceledError:
            raise GenerationLostError from None

    def is_cancelled(self, row: OpenGeneration) -> bool:
        """Whether it was cancelled by now: one consistent read of two rows.

        Raises:
            GenerationLostError: somebody else holds it, or has ended it.
        """
        current, cancels = self._current(row)
        return current.is_cancelled(cancels)

    def _current(self, row: OpenGeneration) -> tuple[OpenGeneration, ChannelCancels]:
        cancel_key = keys.cancel_key(row.channel_id)
        items = self.repository.batch_get(Table.CHANNELS, [row.key, cancel_key], consistent=True)
        by_key = {(item["pk"], item["sk"]): item for item in items}
        item = by_key.get((row.key["pk"], row.key["sk"]))
        current = None if item is None else OpenGeneration.model_validate(item)
        if current is None or (current.fence, current.status) != (row.fence, row.status):
            raise GenerationLostError
        cancels = by_key.get((cancel_key["pk"], cancel_key["sk"]), {})
        return current, ChannelCancels.model_validate(cancels)

    def _draft(
        self, row: OpenGeneration, ending: Ending, cost: Cost, checks: Sequence[Write]
    ) -> Draft:
        data = _data(row, ending)
        may_be_cancelled = ending.finish_reason == "cancelled"

        def writes(seq: int) -> list[Write]:
            ended = EndedGeneration(
                channel_id=row.channel_id,
                question_seq=row.question_seq,
                generation=row.generation,
                event_seq=seq,
            )
            held = _held(row) if may_be_cancelled else all_of(_held(row), NotExists("cancelled"))
            return [
                DeleteWrite(Table.CHANNELS, row.key, held),
                PutWrite(Table.CHANNELS, {**ended.key, **ended.model_dump()}, NotExists("pk")),
                *checks,
                *self._settling(row, cost),
            ]

        def judge(position: int, item: Item | None) -> None:
            """Raises where the row is somebody else's; what else was refused is judged anew."""
            if position != _ROW_POSITION:
                return
            current = None if item is None else OpenGeneration.model_validate(item)
            if current is None or (current.fence, current.status) != (row.fence, row.status):
                raise GenerationLostError

        return Draft(
            sender=AGENT, data=data, writes=writes, on_rejected=judge, holds_its_reasons=True
        )

    def _settling(self, row: OpenGeneration, cost: Cost) -> list[Write]:
        if row.reservation is None:
            return []
        return self._spend.settling(row.channel_id, row.reservation, cost)


def _data(row: OpenGeneration, ending: Ending) -> EventData:
    if ending.failure is not None:
        return AgentFailedData(
            target=row.question_seq, generation=row.generation, reason=ending.failure
        )
    return MessageCreatedData(
        text=ending.text,
        reply_to=row.question_seq,
        generation=row.generation,
        finish_reason=ending.finish_reason,
        usage=ending.usage,
    )


def _held(row: OpenGeneration) -> Condition:
    return all_of(Compare("fence", "=", row.fence), Compare("status", "=", row.status))


def _undeleted(row: OpenGeneration) -> Write:
    return ConditionCheck(
        Table.CHAT_EVENTS,
        keys.event_key(row.channel_id, row.question_seq),
        all_of(Exists("channel_id"), NotExists("redacted")),
    )


def _uncancelled(row: OpenGeneration) -> Write:
    """No cancel of everything in the channel that the generation is subject to."""
    return ConditionCheck(
        Table.CHANNELS,
        keys.cancel_key(row.channel_id),
        any_of(
            NotExists("through_seq"),
            Compare("through_seq", "<", row.question_seq),
            Compare("cancels", "<=", row.cancels_seen),
        ),
    )
