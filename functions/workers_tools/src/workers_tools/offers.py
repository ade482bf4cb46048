"""What of a server's list is offered: bounded, and only what a model can be shown."""

import json
import re
from collections.abc import Iterable
from typing import Final

from mcp_types import Tool

from commons.json_text import parse_json
from commons.records.tool import OfferedTool
from workers_tools.contents import shown, without
from workers_tools.servers import ToolServer

MAX_TOOLS: Final = 64
MAX_DESCRIPTION_BYTES: Final = 1_024
MAX_TITLE_BYTES: Final = 120
MAX_SCHEMA_BYTES: Final = 8_192
MAX_ROW_BYTES: Final = 262_144
"""Of all of a server's tools: DynamoDB's item holds 400 KB."""

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_LOGGED_NAME: Final = 64


class Offers:
    """Tools of one server, in the order in which it lists them.

    Attributes:
        tools: those that fit.
        left_out: names of those that do not; what is too long of a description is cut instead.

    Args:
        token: that the server was sent, and may repeat; empty: it was sent none.
    """

    def __init__(self, server: ToolServer, listed: Iterable[Tool], token: str = "") -> None:
        self._server = server
        self._token = token
        self.tools: list[OfferedTool] = []
        self.left_out: list[str] = []
        self._names: set[str] = set()
        self._size = 0
        for tool in listed:
            if server.offers(tool.name):
                self._add(tool)

    def _add(self, tool: Tool) -> None:
        schema = self._schema(tool)
        size = MAX_DESCRIPTION_BYTES + MAX_TITLE_BYTES + len((schema or "").encode())
        if (
            schema is None
            or not _NAME.match(without(self._token, tool.name))
            or tool.name in self._names
            or len(self.tools) == MAX_TOOLS
            or self._size + size > MAX_ROW_BYTES
        ):
            self.left_out.append(without(self._token, tool.name)[:_LOGGED_NAME])
            return
        self._names.add(tool.name)
        self._size += size
        self.tools.append(self._offered(tool, schema))

    def _offered(self, tool: Tool, schema: str) -> OfferedTool:
        hints = tool.annotations
        read_only = bool(hints and hints.read_only_hint)
        title = tool.title or (hints.title if hints else None)
        return OfferedTool(
            name=tool.name,
            title=self._shown(title, MAX_TITLE_BYTES) if title else None,
            description=self._shown(tool.description or "", MAX_DESCRIPTION_BYTES),
            input_schema=schema,
            read_only=read_only,
            idempotent=bool(hints and hints.idempotent_hint),
            approval=self._server.approval.get(tool.name, "none" if read_only else "requester"),
        )

    def _shown(self, text: str, limit: int) -> str:
        return shown(without(self._token, text), limit).text

    def _schema(self, tool: Tool) -> str | None:
        """As JSON text; None where it is too large, too deep, or of no object."""
        try:
            text = json.dumps(
                tool.input_schema, ensure_ascii=False, allow_nan=False, separators=(",", ":")
            )
            text = without(self._token, text)
            parse_json(text)
            fits = len(text.encode()) <= MAX_SCHEMA_BYTES
        except (ValueError, RecursionError):
            return None
        return text if fits and tool.input_schema.get("type") == "object" else None
