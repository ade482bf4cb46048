"""How a generation ends: one event, in one transaction with its row and what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from commons import keys
from commons.dal import (
    DeleteWrite,
    IRepository,
    Item,
    NotExists,
    PutWrite,
    Table,
    Write,
    all_of,
)
from commons.dynamodb.exceptions import TransactionCanceledError
from commons.errors import ChannelNotFoundError
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
from commons.services.generation_hold import (
    AGENT,
    SYSTEM,
    GenerationLostError,
    fenced,
    held,
    uncancelled,
    undeleted,
)
from commons.services.membership import MembershipService
from commons.services.spend import SpendService
from commons.services.tool_calls import ToolCallsService

# Older functions import the error from here.
__all__ = ["CANCELLED", "Ending", "GenerationEndingsService", "GenerationLostError"]

_ROW_POSITION: Final = 0


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


class _StepLaidDownError(Exception):
    """The reply went on since it was read, by the same worker."""

    def __init__(self, row: OpenGeneration) -> None:
        super().__init__("a step was laid down")
        self.row = row


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
        calls: ToolCallsService | None = None,
    ) -> None:
        super().__init__(repository)
        self._event_log = event_log or EventLogService(self.repository)
        self._spend = spend or SpendService(self.repository)
        self._membership = MembershipService(self.repository)
        self._calls = calls or ToolCallsService(self.repository, event_log=self._event_log)

    def end(self, row: OpenGeneration, ending: Ending, *, by: Sender | None = None) -> Event:
        """Appends what the generation came to, for who holds it as `row` says.

        Its calls are closed before: after its end none is waited for or made.

        Args:
            row: as it was read or claimed.
            ending: what it came to.
            by: who cancels it; else whoever the row says.

        Raises:
            GenerationLostError: somebody else holds it, or has ended it.
            ChannelNotFoundError: the channel was deleted.
        """
        while True:
            if row.step_count:
                self._calls.cancel_pending(row, by or self._canceller(row))
            try:
                return self._append_end(row, ending)
            except _StepLaidDownError as error:
                row = error.row

    def _append_end(self, row: OpenGeneration, ending: Ending) -> Event:
        def prepare() -> Draft:
            question = self._event_log.get_message(row.channel_id, row.question_seq)
            if question.data.redacted:
                return self._draft(row, CANCELLED, ending.cost, [])
            if ending.finish_reason != "cancelled" and self.is_cancelled(row):
                cancelled = Ending(text=ending.text, finish_reason="cancelled", usage=ending.usage)
                return self._draft(row, cancelled, ending.cost, [undeleted(row)])
            checks = [undeleted(row)]
            if ending.finish_reason != "cancelled":
                checks.append(uncancelled(row))
            return self._draft(row, ending, ending.cost, checks)

        # Others' ends may fill the log at that moment, and a cancel has 2 s.
        is_cancelled = ending.finish_reason == "cancelled"
        return self._event_log.append(row.channel_id, prepare, goes_first=is_cancelled)

    def cancel_unclaimed(self, row: OpenGeneration) -> Event:
        """Ends a cancelled reply that no worker ever had, by one call; waits for no other writer.

        Raises:
            GenerationLostError: a worker has it now, or it has ended.
            ChannelNotFoundError: the channel was deleted.
        """
        # There is no text that a deletion of the question would have to keep out.
        draft = self._draft(row, CANCELLED, NO_COST, [])
        return self._event_log.append(row.channel_id, lambda: draft, goes_first=True)

    def forget(self, row: OpenGeneration, cost: Cost = NO_COST) -> None:
        """Ends a generation without an event: its channel is gone.

        Raises:
            GenerationLostError: somebody else holds it, or has ended it.
        """
        removal = DeleteWrite(Table.CHANNELS, row.key, fenced(row))
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

    def is_unwanted(self, row: OpenGeneration) -> bool:
        """Whether nobody waits for it by now: it was cancelled, or its question deleted.

        Raises:
            GenerationLostError: somebody else holds it, or has ended it.
            ChannelNotFoundError: the channel was deleted.
        """
        if self._membership.find_channel(row.channel_id) is None:
            raise ChannelNotFoundError
        if self.is_cancelled(row):
            return True
        question = self._event_log.get_message(row.channel_id, row.question_seq)
        return bool(question.data.redacted)

    def _canceller(self, row: OpenGeneration) -> Sender:
        current, cancels = self._current(row)
        for cancel in (current, cancels):
            if cancel.cancelled_by is not None and current.is_cancelled(cancels):
                return Sender(id=cancel.cancelled_by, name=cancel.cancelled_by_name, kind="user")
        return SYSTEM

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
            is_held = held(row) if may_be_cancelled else all_of(held(row), NotExists("cancelled"))
            return [
                DeleteWrite(Table.CHANNELS, row.key, is_held),
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
            if current.step_count != row.step_count:
                raise _StepLaidDownError(current)

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
