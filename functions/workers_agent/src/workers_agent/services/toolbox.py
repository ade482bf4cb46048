"""The tools of one request to a model: how they are named to it, and what it means by a name."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from commons.records.tool import BadArgumentsError, ChannelTool, NewCall
from workers_agent.model import ToolSpec

MAX_NAME: Final = 64
MAX_DEPTH: Final = 32
"""Of arguments: whoever reads them after us may take no more."""

_DIGEST: Final = 8

_REFUSED: Final = re.compile(r"[^A-Za-z0-9_-]")
"""What no provider takes in a tool's name."""

_GONE: Final = "No longer available."


class Toolbox:
    """What the model is offered, each tool under a name that every provider takes.

    Args:
        tools: that the agent may call in the channel.
        called: what the steps so far have called; it may be gone by now, or never have been.
    """

    def __init__(self, tools: Sequence[ChannelTool], *, called: Sequence[str] = ()) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._gone = sorted(set(called) - self._tools.keys())
        names = [*self._tools, *self._gone]
        plain = Counter(_REFUSED.sub("_", name) for name in names)
        self._sent = {name: _sent_name(name, plain) for name in names}
        self._meant = {self._sent[name]: tool for name, tool in self._tools.items()}

    def specs(self) -> list[ToolSpec]:
        """What is offered; where nothing is any more, what was called."""
        offered = [
            ToolSpec(
                name=self._sent[tool.name],
                description=tool.description or tool.title or "",
                input_schema=tool.input_schema,
            )
            for tool in self._tools.values()
        ]
        gone = [
            ToolSpec(name=self._sent[name], description=_GONE, input_schema={"type": "object"})
            for name in self._gone
        ]
        return offered or gone

    def sent_name(self, tool: str) -> str:
        """Of a qualified name that is offered, or was called."""
        return self._sent[tool]

    def qualified_name(self, sent: str) -> str:
        """What the model means; the name itself where there is no such tool."""
        tool = self._meant.get(sent)
        return sent if tool is None else tool.name

    def call(self, sent: str, arguments: str) -> NewCall:
        """The call that the model asks for.

        Raises:
            BadArgumentsError: none can be made; the error's text is for the model.
        """
        tool = self._meant.get(sent)
        if tool is None:
            raise BadArgumentsError("There is no tool of this name.")
        try:
            parsed = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            raise BadArgumentsError("The arguments are no JSON object.")
        if _is_deeper(parsed, MAX_DEPTH):
            raise BadArgumentsError(f"The arguments are nested more than {MAX_DEPTH} levels deep.")
        return NewCall.of(tool, parsed)


def _sent_name(name: str, plain: Counter[str]) -> str:
    """Spelled as it is where that is unique and short enough, else told apart by a digest."""
    sent = _REFUSED.sub("_", name)
    if plain[sent] == 1 and len(sent) <= MAX_NAME:
        return sent
    digest = sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{sent[: MAX_NAME - _DIGEST - 1]}_{digest}"


def _is_deeper(value: object, levels: int) -> bool:
    """Level by level: nothing that is nested without end may end us."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            part
            for each in layer
            if isinstance(each, dict | list)
            for part in (each.values() if isinstance(each, dict) else each)
        ]
        if not layer:
            return False
    return True
