"""Which tools there are: what the stack's servers offered last, and what a channel makes of it."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from commons import keys
from commons.clock import epoch_seconds
from commons.dal import IRepository, Query, SortPrefix, Table
from commons.records.channel import AgentRecord
from commons.records.tool import ChannelTool, ToolServerRecord, rule_in_force
from commons.services.base import BaseService

REMEMBERED_SECONDS: Final = 30.0


class ToolCatalogueService(BaseService):
    """Reads rows that `workers_tools` writes: nobody asks a server while somebody waits.

    Args:
        remembered_seconds: how long a warm function goes by what it read.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        remembered_seconds: float = REMEMBERED_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(repository)
        self._remembered_seconds = remembered_seconds
        self._clock = clock
        self._read_at: float | None = None
        self._offered: list[ChannelTool] = []

    def offered(self) -> list[ChannelTool]:
        """What the stack offers, under the stack's rules, by name."""
        moment = self._clock()
        if self._read_at is None or moment - self._read_at >= self._remembered_seconds:
            self._offered = self._read()
            self._read_at = moment
        return self._offered

    def for_channel(self, agent: AgentRecord) -> list[ChannelTool]:
        """What the agent of a channel may call, each under the stricter of stack's and channel's."""
        return [
            replace(tool, approval=rule)
            for tool in (self.offered() if agent.tools else [])
            if (rule := rule_in_force(tool.name, tool.approval, agent)) is not None
        ]

    def _read(self) -> list[ChannelTool]:
        rows = self.repository.iterate(
            Query(
                table=Table.CHANNELS,
                partition=keys.TOOL_SERVERS_PARTITION,
                sort=SortPrefix(keys.TOOL_SERVER_PREFIX),
            )
        )
        servers = [ToolServerRecord.model_validate(row) for row in rows]
        now = epoch_seconds()
        tools = [
            ChannelTool.of(server.name, each)
            for server in servers
            if not server.is_past(now)
            for each in server.tools
        ]
        return sorted(tools, key=lambda tool: tool.name)
