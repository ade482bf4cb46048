"""Values that a newer writer may have extended: read, and passed on, as they are."""

import json
from collections.abc import Mapping
from typing import ClassVar, Final, TypeAliasType, get_args

from pydantic import ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from commons.schemas.base import BaseSchema

JSON_SUFFIX: Final = "_json"
"""Attributes that hold any JSON are stored as text under such a name, so that a reader who does
not know the attribute knows that: nothing in it is spelled anew."""


class Open:
    """Marks an enumeration that grows: `Annotated[Role, Open(Role)]`.

    The type checker holds whoever writes such a value to those that are known. Whoever reads one
    takes any string, so a `match` over it has a default.
    """

    def __init__(self, known: TypeAliasType) -> None:
        self._known: tuple[str, ...] = get_args(known.__value__)

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.str_schema()

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "enum": list(self._known)}


class OpenSchema(BaseSchema):
    """A model that keeps attributes it does not know, in the spelling of the wire.

    Attributes:
        json_text: fields that hold any JSON, each with the attribute that stores it as text, so
            that it comes back as it came. New attributes end in `JSON_SUFFIX`.
    """

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    json_text: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        texts = {
            field: json.loads(text)
            for field, attribute in cls.json_text.items()
            if isinstance(text := value.get(attribute), str)
        }
        stored_as_text = {cls.json_text[field] for field in texts}
        others = {name: each for name, each in value.items() if name not in stored_as_text}
        known = {name: each for name, each in others.items() if name in cls.model_fields}
        unknown = {name: each for name, each in others.items() if name not in cls.model_fields}
        return {**known, **as_on_the_wire(unknown), **texts}


def as_on_the_wire(stored: Mapping[str, object]) -> dict[str, object]:
    """A stored map as it is in JSON: its names, at any depth, and what is stored as JSON text."""
    wire: dict[str, object] = {}
    for name, value in stored.items():
        if name.endswith(JSON_SUFFIX) and isinstance(value, str):
            wire[to_camel(name.removesuffix(JSON_SUFFIX))] = json.loads(value)
        else:
            wire[to_camel(name)] = _spelled(value)
    return wire


def _spelled(value: object) -> object:
    if isinstance(value, Mapping):
        return as_on_the_wire(value)
    if isinstance(value, list):
        return [_spelled(each) for each in value]
    return value
