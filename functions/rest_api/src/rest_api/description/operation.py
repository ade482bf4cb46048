"""What is said about an operation of the API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from commons.schemas import BaseSchema

type Method = Literal["get", "post", "put", "patch", "delete"]
type JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """JSON that comes in or goes out: a schema of ours, or a component by name."""

    schema: type[BaseSchema] | str
    example: JsonObject
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    status: int
    description: str
    body: Body | None = None
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One verb of one path.

    Attributes:
        errors: statuses beyond those that every operation of its kind has (401 with a token, 400,
            413 and 415 with a body, 404, 422, 429 and 503 always: an unknown verb is a 404, an unknown
            parameter a 422).
    """

    operation_id: str
    method: Method
    path: str
    tag: str
    summary: str
    successes: Sequence[Success]
    description: str = ""
    request: Body | None = None
    query: type[BaseSchema] | None = None
    headers: Sequence[JsonObject] = ()
    errors: Sequence[int] = ()
    has_token: bool = True

    @property
    def statuses(self) -> list[int]:
        """Of its errors, ascending."""
        found = {404, 422, 429, 503, *self.errors}
        if self.has_token:
            found.add(401)
        if self.request is not None:
            found |= {400, 413, 415}
        return sorted(found)
