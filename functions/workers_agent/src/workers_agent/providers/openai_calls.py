"""Calls as OpenAI-compatible servers stream them, in every shape that they send."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BeforeValidator, WrapValidator

from workers_agent.model import ToolCallChunk
from workers_agent.providers.lenient import Wire, readable, word

MAX_CALLS: Final = 32
"""Of one answer; a reply makes fewer. What comes after is not read."""


def _text(value: object) -> str:
    """Some servers send the arguments as an object, whole."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


class CalledFunction(Wire):
    name: Annotated[str | None, BeforeValidator(word)] = None
    arguments: Annotated[str, BeforeValidator(_text)] = ""


class CallPiece(Wire):
    """A piece of a call; the first one names the function."""

    index: Annotated[int | None, WrapValidator(readable)] = None
    id: Annotated[str | None, BeforeValidator(word)] = None
    function: CalledFunction | None = None


@dataclass(slots=True)
class _Call:
    index: int | None
    call_id: str | None
    name: str
    arguments: str = ""


class StreamedCalls:
    """Puts calls together from their pieces.

    A piece continues the call with its id, else the last one with its index, else the last one. One
    that names a function begins a call where none with its index is unfinished: some servers number
    all calls 0, some do not number them, some repeat the name or send a new id with every piece.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def take(self, pieces: Sequence[CallPiece]) -> None:
        for piece in pieces:
            function = piece.function or CalledFunction()
            call = self._continued(piece, function) or self._begun(piece, function)
            if call is not None:
                call.arguments += function.arguments

    def whole(self) -> list[ToolCallChunk]:
        """The calls in the order in which they began; one without an id gets one."""
        return [
            ToolCallChunk(call.call_id or f"call{position:05}", call.name, call.arguments)
            for position, call in enumerate(self._calls)
        ]

    def _continued(self, piece: CallPiece, function: CalledFunction) -> _Call | None:
        if piece.id is not None:
            for call in self._calls:
                if call.call_id == piece.id:
                    return call
        candidates = [
            call for call in self._calls if piece.index is None or call.index == piece.index
        ]
        if not candidates:
            return None
        last = candidates[-1]
        if function.name and (piece.index is None or _is_another(piece, last)):
            return None
        last.call_id = last.call_id or piece.id
        return last

    def _begun(self, piece: CallPiece, function: CalledFunction) -> _Call | None:
        if not function.name or len(self._calls) >= MAX_CALLS:
            return None
        call = _Call(piece.index, piece.id, function.name)
        self._calls.append(call)
        return call


def _is_another(piece: CallPiece, call: _Call) -> bool:
    if piece.id is not None and call.call_id is not None:
        return True
    try:
        json.loads(call.arguments)
    except ValueError:
        return False
    return True
