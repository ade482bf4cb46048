"""Calls of tools as they stand; whoever asks has made sure that the caller may."""

from commons import keys
from commons.dal import Query, SortPrefix, Table
from commons.records.generation import OpenGeneration
from commons.records.tool import ToolCallRecord
from commons.services.base import BaseService


class ToolCallRows(BaseService):
    """Reads rows of calls, all consistently."""

    def find(self, channel_id: str, call_id: str) -> ToolCallRecord | None:
        """One call; None also of another channel's."""
        key = keys.tool_call_key(channel_id, call_id)
        item = self.repository.find(Table.CHANNELS, key, consistent=True)
        return None if item is None else ToolCallRecord.model_validate(item)

    def of_step(self, row: OpenGeneration, index: int) -> list[ToolCallRecord]:
        """The calls of one step in its order."""
        ids = [each.call_id for each in row.steps[index].calls if each.call_id is not None]
        items = self.repository.batch_get(
            Table.CHANNELS,
            [keys.tool_call_key(row.channel_id, call_id) for call_id in ids],
            consistent=True,
        )
        records = {each.call_id: each for each in map(ToolCallRecord.model_validate, items)}
        return [records[call_id] for call_id in ids]

    def waits(self, row: OpenGeneration) -> bool:
        """Whether people have yet to decide about calls of the last step."""
        return any(call.is_pending for call in self.of_step(row, row.step_count - 1))

    def of_question(
        self, channel_id: str, question_seq: int, generation: int | None = None
    ) -> list[ToolCallRecord]:
        """The calls of all replies to a question, or of one, in the order they were asked for."""
        query = Query(
            table=Table.CHANNELS,
            partition=keys.tool_calls_partition(channel_id),
            sort=SortPrefix(keys.tool_calls_prefix(question_seq, generation)),
            consistent=True,
        )
        return [ToolCallRecord.model_validate(item) for item in self.repository.iterate(query)]
