"""The base of everything that goes over the wire."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class BaseSchema(BaseModel):
    """camelCase on the wire, snake_case in Python; unknown fields are refused; values are frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
    )

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready: camelCase, fields without a value left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def to_json(self) -> str:
        """As `to_wire`, as unescaped UTF-8 JSON."""
        return self.model_dump_json(by_alias=True, exclude_none=True)
