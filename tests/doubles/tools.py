"""Servers of tools behind the function that calls them, and what they have seen."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from commons import keys
from commons.dal import IRepository, Table
from commons.records.tool import OfferedTool, ToolCallRecord, ToolServerRecord
from workers_agent.schemas import ToolAnswer
from workers_agent.tool_function import CallUnknownError

type Behaviour = Callable[[ToolCallRecord], Awaitable[ToolAnswer]]


@dataclass
class CountingTools:
    """IToolFunction. Answers as its tool is told to, else with `ok`; counts what is made of a call.

    Attributes:
        made: in the order in which they reached a server.
    """

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    made: list[ToolCallRecord] = field(default_factory=list)

    async def call(self, call: ToolCallRecord) -> ToolAnswer:
        self.made.append(call)
        behaviour = self.behaviours.get(call.tool)
        if behaviour is not None:
            return await behaviour(call)
        await asyncio.sleep(0)
        return ToolAnswer(outcome="ok", text=f"{call.tool} is done")

    @property
    def counts(self) -> Counter[str]:
        """How often each call was made, by its id."""
        return Counter(call.call_id for call in self.made)

    @property
    def names(self) -> list[str]:
        return [call.tool for call in self.made]


def answers(text: str, *, after: float = 0.0, truncated: bool = False) -> Behaviour:
    async def behaviour(_call: ToolCallRecord) -> ToolAnswer:
        await asyncio.sleep(after)
        return ToolAnswer(outcome="ok", text=text, truncated=truncated)

    return behaviour


def fails(text: str) -> Behaviour:
    async def behaviour(_call: ToolCallRecord) -> ToolAnswer:
        return ToolAnswer(outcome="error", text=text, reason="unreachable")

    return behaviour


def is_lost() -> Behaviour:
    """Made, and nobody hears of it."""

    async def behaviour(_call: ToolCallRecord) -> ToolAnswer:
        raise CallUnknownError

    return behaviour


CLOCK = OfferedTool(
    name="now", description="Says what time it is.", read_only=True, approval="none"
)
NOTES = OfferedTool(name="add", description="Adds a note.", approval="requester")
VALUES = OfferedTool(name="set", description="Sets a value.", idempotent=True, approval="anyone")


def offer(repository: IRepository, server: str, tools: Sequence[OfferedTool]) -> None:
    """As the function that reads the catalogue leaves it."""
    record = ToolServerRecord.model_validate(
        {
            "name": server,
            "tools": tools,
            "read_at": "2026-01-01T00:00:00.000Z",
            "expires_at": 4_000_000_000,
        }
    )
    item = {**keys.tool_server_key(server), **record.model_dump(exclude_none=True)}
    repository.put(Table.CHANNELS, item)
