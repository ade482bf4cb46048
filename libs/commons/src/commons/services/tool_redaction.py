"""What tools were asked and what they said leaves with the message that it belongs to."""

from commons import keys
from commons.clock import now, rfc3339
from commons.dal import Exists, Table, Update, UpdateWrite, Write
from commons.records.event import stored_data
from commons.records.tool import ToolCallRecord
from commons.schemas.event import EventData, ToolFinished, ToolRequested
from commons.services.base import BaseService
from commons.services.event_log import EventLogService
from commons.services.tool_call_rows import ToolCallRows


class ToolRedactionService(BaseService):
    """Empties calls, each with its events in one transaction.

    Whoever asks has deleted the message before. From then on nothing is laid down for a question,
    and what a call comes to is empty: what is read here is all that there is to empty.
    """

    def empty(self, channel_id: str, question_seq: int, generation: int | None = None) -> None:
        """Empties the calls of all replies to a question, or of one; again: what is left."""
        calls = ToolCallRows(self.repository).of_question(channel_id, question_seq, generation)
        for call in calls:
            if not call.redacted:
                self._empty(call)

    def _empty(self, call: ToolCallRecord) -> None:
        update = Update(set={"redacted": True, "arguments": "{}"}, remove=("digest", "result"))
        writes: list[Write] = [UpdateWrite(Table.CHANNELS, call.key, update, Exists("pk"))]
        event_log = EventLogService(self.repository)
        for seq in filter(None, (call.requested_seq, call.finished_seq)):
            event = event_log.get(call.channel_id, seq)
            if isinstance(event, ToolRequested | ToolFinished):
                writes.append(_emptying(call.channel_id, seq, event.data.emptied()))
        self.repository.transact(writes)


def _emptying(channel_id: str, seq: int, emptied: EventData) -> Write:
    update = Update(set={"data": stored_data(emptied), "deleted_at": rfc3339(now())})
    return UpdateWrite(
        Table.CHAT_EVENTS, keys.event_key(channel_id, seq), update, Exists("channel_id")
    )
