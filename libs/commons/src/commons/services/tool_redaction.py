"""What tools were asked and what they said leaves with the message that it belongs to."""

from typing import Final

from commons import keys
from commons.clock import now, rfc3339
from commons.dal import (
    Compare,
    Condition,
    Exists,
    NotExists,
    Table,
    Update,
    UpdateWrite,
    Write,
    all_of,
)
from commons.dynamodb.exceptions import StorageBusyError, TransactionCanceledError
from commons.records.event import stored_data
from commons.records.tool import ToolCallRecord
from commons.schemas.event import EventData, ToolFinished, ToolRequested
from commons.services.base import BaseService
from commons.services.event_log import EventLogService
from commons.services.tool_call_rows import ToolCallRows

_TRIES: Final = 5


class ToolRedactionService(BaseService):
    """Empties calls, each with its events in one transaction; whoever asks has deleted the message.

    Nothing is laid down for a question that is deleted, so what is emptied stays so.
    """

    def empty(self, channel_id: str, question_seq: int, generation: int | None = None) -> None:
        """Empties the calls of all replies to a question, or of one; again: what is left."""
        rows = ToolCallRows(self.repository)
        for _ in range(_TRIES):
            calls = [
                call
                for call in rows.of_question(channel_id, question_seq, generation)
                if not call.redacted
            ]
            if not calls:
                return
            for call in calls:
                self._empty(call)
        raise StorageBusyError("calls of a message could not be emptied")

    def _empty(self, call: ToolCallRecord) -> None:
        """One that goes on meanwhile is left to the next round."""
        update = Update(set={"redacted": True, "arguments": "{}"}, remove=("digest", "result"))
        writes: list[Write] = [UpdateWrite(Table.CHANNELS, call.key, update, _as_read(call))]
        log = EventLogService(self.repository)
        for seq in (call.requested_seq, call.finished_seq):
            if seq:
                event = log.get(call.channel_id, seq)
                if isinstance(event, ToolRequested | ToolFinished):
                    writes.append(_emptying(call.channel_id, seq, event.data.emptied()))
        try:
            self.repository.transact(writes)
        except TransactionCanceledError:
            return


def _emptying(channel_id: str, seq: int, emptied: EventData) -> Write:
    update = Update(set={"data": stored_data(emptied), "deleted_at": rfc3339(now())})
    return UpdateWrite(
        Table.CHAT_EVENTS, keys.event_key(channel_id, seq), update, Exists("channel_id")
    )


def _as_read(call: ToolCallRecord) -> Condition:
    """No event has come that is not emptied with it."""
    return all_of(
        _number("requested_seq", call.requested_seq), _number("finished_seq", call.finished_seq)
    )


def _number(attribute: str, value: int) -> Condition:
    return Compare(attribute, "=", value) if value else NotExists(attribute)
