"""A handshake, as its headers and its query describe it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """A client that wants to connect.

    Attributes:
        connected_at: epoch milliseconds.
        headers: their names in lower case.
    """

    connection_id: str
    connected_at: int
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def channels(self) -> list[str]:
        return [
            channel
            for part in self.query.get("channels", "").split(",")
            if (channel := part.strip())
        ]
