"""A stack whose one server a test has in its hands."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.doubles.mcp_server import Behaviour, ScriptedServer, scripted_server
from tests.doubles.repository import InMemoryRepository

from commons.clock import epoch_seconds
from commons.dal import Table
from commons.records.tool import OfferedTool, ToolServerRecord
from workers_tools.composition import Services, build_services
from workers_tools.conversation import Conversations
from workers_tools.edge import Resolve, resolve
from workers_tools.schemas import CallAnswer, CallRequest
from workers_tools.servers import ToolNetwork
from workers_tools.settings import ToolsSettings

SERVER = "notes"
SECRET_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:notes-AbCdEf"


@dataclass
class Stack:
    """The function over memory, and one server that it is told of."""

    server: ScriptedServer
    repository: InMemoryRepository
    network: ToolNetwork = "private"
    seconds: float = 5.0
    resolver: Resolve = resolve
    secret: str | None = None
    described: dict[str, Any] = field(default_factory=dict)
    schema: str = '{"type": "object"}'

    def services(self, **conversations: Any) -> Services:
        described = {"name": SERVER, "url": self.server.url, **self.described}
        if self.secret is not None:
            described["secretArn"] = SECRET_ARN
        return build_services(
            ToolsSettings(
                tool_servers="/tools", tool_network=self.network, tool_timeout=self.seconds
            ),
            self.repository,
            conversations=Conversations(
                network=self.network, read_bytes=65_536, resolver=self.resolver, **conversations
            ),
            read_parameter=lambda _name: json.dumps([described]),
            read_secret=lambda _arn: self.secret or "",
        )

    def offer(self, tool: str = "add") -> None:
        record = ToolServerRecord(
            name=SERVER,
            tools=[OfferedTool(name=tool, input_schema=self.schema, approval="requester")],
            read_at="2026-01-01T00:00:00.000Z",
            expires_at=epoch_seconds() + 60,
        )
        self.repository.put(Table.CHANNELS, {**record.key, **record.model_dump()})

    def call(self, tool: str = "add", **arguments: Any) -> CallAnswer:
        """Offers the tool, and calls it."""
        self.offer(tool)
        return self.services().calling.call(request(tool, **arguments))


def request(tool: str = "add", **arguments: Any) -> CallRequest:
    return CallRequest(
        action="call", server=SERVER, tool=tool, arguments=arguments, call_id="call-1"
    )


type MakeStack = Callable[..., Stack]


@pytest.fixture
def stack_of(repository: InMemoryRepository) -> Iterator[MakeStack]:
    """A stack whose server behaves as told: `stack_of({"tools/call": …}, seconds=…)`."""
    with ExitStack() as servers:

        def make(behaviours: dict[str, Behaviour] | None = None, **fields: Any) -> Stack:
            tools = fields.pop("tools", None)
            server = servers.enter_context(scripted_server(behaviours, tools=tools))
            return Stack(server, repository, **fields)

        yield make
