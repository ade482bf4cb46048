"""Keeps the catalogue: what each server offers, in a row of its own."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from mcp_types import Tool

from commons import keys
from commons.clock import epoch_seconds, now, rfc3339
from commons.dal import Exists, IRepository, Query, Table, Update
from commons.dynamodb.exceptions import ConditionFailedError, RepositoryError
from commons.observability import log, metrics
from commons.records.tool import ToolServerRecord
from commons.services.base import BaseService
from workers_tools.configuration import Configuration
from workers_tools.conversation import Peer, ToolFailedError
from workers_tools.edge import EdgeError
from workers_tools.offers import Offers
from workers_tools.schemas import Reason, RefreshAnswer
from workers_tools.servers import ToolServer, ToolServersError

KEPT_SECONDS: Final = 3_600
"""A row that no refresh confirms counts for nothing after this: where a stack has no servers any more, nobody
is left to take it away."""


class ILists(Protocol):
    """Asks what a server offers."""

    async def tools(self, peer: Peer, *, seconds: float) -> list[Tool]:
        """All of its tools.

        Raises:
            ToolFailedError: it answers an error.
            EdgeError: there is no answer, or none that can be taken.
        """
        ...


class CatalogueService(BaseService):
    """Reads the lists ahead of time: nobody asks a server for its list while somebody waits.

    Args:
        configuration: the stack's servers.
        conversations: speaks to them.
        seconds: for each server; all are asked side by side.
        clock: epoch seconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        configuration: Configuration,
        conversations: ILists,
        seconds: float,
        clock: Callable[[], int] = epoch_seconds,
    ) -> None:
        super().__init__(repository)
        self._configuration = configuration
        self._conversations = conversations
        self._seconds = seconds
        self._clock = clock

    def refresh(self) -> RefreshAnswer:
        """Asks every server. One that does not answer keeps its row; what is no server any more loses it.

        Raises:
            RepositoryError: the configuration or the table cannot be read or written.
            ToolServersError: the configuration does not describe servers.
        """
        self._configuration.forget()
        try:
            servers = self._configuration.servers()
        except ToolServersError as error:
            log.error("tool servers not readable", detail=str(error))
            raise
        peers = [self._peer(server) for server in servers]
        lists = asyncio.run(self._ask_all(servers, peers))
        tools = 0
        unread = []
        for server, peer, listed in zip(servers, peers, lists, strict=True):
            if peer is None or listed is None:
                unread.append(server.name)
                self._keep(server)
            else:
                tools += self._write(server, listed, peer.token)
        self._remove_all_but([server.name for server in servers])
        if unread:
            metrics.add_metric(name="ToolServerUnread", unit="Count", value=len(unread))
        log.info("catalogue refreshed", servers=len(servers), tools=tools, unread=unread)
        return RefreshAnswer(servers=len(servers), tools=tools, unread=unread)

    def _peer(self, server: ToolServer) -> Peer | None:
        """None where its secret cannot be had: one server's fault keeps no other from being read."""
        try:
            return Peer(server.url, self._configuration.token(server))
        except (RepositoryError, ToolServersError) as error:
            log.warning("tool server without its secret", server=server.name, detail=str(error))
            return None

    async def _ask_all(
        self, servers: Sequence[ToolServer], peers: Sequence[Peer | None]
    ) -> list[list[Tool] | None]:
        return await asyncio.gather(*map(self._ask, servers, peers))

    async def _ask(self, server: ToolServer, peer: Peer | None) -> list[Tool] | None:
        if peer is None:
            return None
        try:
            return await self._conversations.tools(peer, seconds=self._seconds)
        except EdgeError as error:
            reason: Reason = error.reason
        except ToolFailedError:
            reason = "tool_error"
        log.warning("tool server not read", server=server.name, extra={"error.type": reason})
        return None

    def _write(self, server: ToolServer, listed: Sequence[Tool], token: str) -> int:
        offers = Offers(server, listed, token)
        if offers.left_out:
            log.warning("tools left out", server=server.name, tools=offers.left_out)
        record = ToolServerRecord(
            name=server.name,
            tools=offers.tools,
            read_at=rfc3339(now()),
            expires_at=self._clock() + KEPT_SECONDS,
        )
        self.repository.put(Table.CHANNELS, {**record.key, **record.model_dump()})
        return len(offers.tools)

    def _keep(self, server: ToolServer) -> None:
        try:
            self.repository.update(
                Table.CHANNELS,
                keys.tool_server_key(server.name),
                Update(set={"expires_at": self._clock() + KEPT_SECONDS}),
                condition=Exists("pk"),
            )
        except ConditionFailedError:
            log.info("tool server was never read", server=server.name)

    def _remove_all_but(self, names: Sequence[str]) -> None:
        kept = [dict(keys.tool_server_key(name)) for name in names]
        rows = self.repository.iterate(
            Query(
                table=Table.CHANNELS,
                partition=keys.TOOL_SERVERS_PARTITION,
                attributes=("pk", "sk"),
                consistent=True,
            )
        )
        for row in rows:
            key = {"pk": str(row["pk"]), "sk": str(row["sk"])}
            if key not in kept:
                self.repository.delete(Table.CHANNELS, key)
