"""A tool's result as text for a model."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mcp_types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)

MAX_NAME: Final = 200
"""Characters of a type or an address that stands for what is not shown."""

NOTHING: Final = "The tool answered with nothing."
REDACTED: Final = "[secret]"


@dataclass(frozen=True, slots=True)
class Shown:
    text: str
    truncated: bool


def shown(text: str, limit: int) -> Shown:
    """The text, or as much of its beginning as has `limit` bytes of UTF-8."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return Shown(encoded.decode(), truncated=False)
    return Shown(encoded[:limit].decode("utf-8", "ignore"), truncated=True)


def without(token: str, text: str) -> str:
    """The text without the token that its server was sent, which a server may repeat."""
    return text.replace(token, REDACTED) if token else text


def text_of(result: CallToolResult) -> str:
    """Texts as they are, structured content as JSON, anything else by a sentence that names it.

    Servers say what is structured once more as text: that is left out.
    """
    structured = result.structured_content
    parts = [
        part
        for block in result.content
        if not (isinstance(block, TextContent) and _says(block.text, structured))
        for part in _parts(block)
    ]
    if structured is not None:
        parts.append(json.dumps(structured, ensure_ascii=False))
    return "\n".join(parts) or NOTHING


def _says(text: str, structured: object) -> bool:
    """Whether a text is that content, or the one value in it."""
    if structured is None:
        return False
    values = [structured]
    if isinstance(structured, dict) and len(structured) == 1:
        values += structured.values()
    if text in values:
        return True
    try:
        return json.loads(text) in values
    except (ValueError, RecursionError):
        return False


def _parts(block: ContentBlock) -> Iterator[str]:
    match block:
        case TextContent():
            yield block.text
        case ImageContent():
            yield f"[An image ({_named(block.mime_type)}), which is not shown.]"
        case AudioContent():
            yield f"[A sound ({_named(block.mime_type)}), which is not shown.]"
        case ResourceLink():
            yield f"[A link to the resource {_named(block.uri)}, which is not opened.]"
        case EmbeddedResource():
            yield f"[The resource {_named(block.resource.uri)}, which is not shown.]"


def _named(name: object) -> str:
    return str(name)[:MAX_NAME]
