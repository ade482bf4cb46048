"""JSON Schemas of what goes over the wire, as descriptions of the API show them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from commons.schemas.event import EVENT_TYPES, Event
from rest_api.description.operation import JsonObject

REF: Final = "#/components/schemas/{model}"

EVENT: Final = "ChatEvent"
"""The union of all events. `Event` is a type of the DOM, which a generated client would hide."""

UNKNOWN_EVENT: Final = "UnknownEvent"


class RequestSchemas(GenerateJsonSchema):
    """Schemas of what comes in: null means absent, unknown fields are refused."""


class AnswerSchemas(GenerateJsonSchema):
    """Schemas of what goes out: never null; fields and values may be added at any time."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def request_schemas(models: Iterable[type[BaseModel]]) -> dict[str, JsonObject]:
    """Each model, and what it refers to, by name."""
    return _definitions(models, RequestSchemas)


def answer_schemas(models: Iterable[type[BaseModel]]) -> dict[str, JsonObject]:
    """Each model, and what it refers to, by name; the union of events is a reference to `EVENT`."""
    found = _definitions(models, AnswerSchemas)
    # Written out where they stand: a request's values are a closed list of the same name.
    values = {REF.format(model=name): _open(each) for name, each in found.items() if "enum" in each}
    return {
        name: _with_named_events(_with_open_values(_tolerant(schema), values))
        for name, schema in found.items()
        if "enum" not in schema and name != Event.__name__
    }


def query_parameters(model: type[BaseModel]) -> dict[str, JsonObject]:
    """The schema of each parameter of a query, by its name."""
    properties: dict[str, JsonObject] = _definitions([model], AnswerSchemas)[model.__name__][
        "properties"
    ]
    return properties


def event_union() -> dict[str, JsonObject]:
    """The union of all events and of those to come, with the schemas that it refers to.

    It has no discriminator: generators make of one a table that fails on a type it does not hold.
    """
    ordered = sorted(EVENT_TYPES.values(), key=lambda model: model.__name__)
    schemas = answer_schemas(ordered)
    types = [schemas[model.__name__]["properties"]["type"]["const"] for model in ordered]
    base = schemas[ordered[0].__name__]
    unknown = {
        "description": "An event of a type that came after this description: ignore it.",
        "type": "object",
        "properties": {
            **base["properties"],
            "type": {"type": "string", "not": {"enum": sorted(types)}},
            "data": {"type": "object"},
        },
        "required": base["required"],
    }
    references = [{"$ref": REF.format(model=model.__name__)} for model in ordered]
    named = {
        "description": "Something that happened in a channel; `type` says what.",
        "anyOf": [*references, {"$ref": REF.format(model=UNKNOWN_EVENT)}],
    }
    return {**schemas, EVENT: named, UNKNOWN_EVENT: unknown}


def _definitions(
    models: Iterable[type[BaseModel]], generator: type[GenerateJsonSchema]
) -> dict[str, JsonObject]:
    ordered = sorted(models, key=lambda model: model.__name__)
    _, found = models_json_schema(
        [(model, "validation") for model in ordered],
        ref_template=REF,
        schema_generator=generator,
    )
    definitions: dict[str, JsonObject] = _plain(found["$defs"])
    return definitions


def _plain(schema: Any) -> Any:
    """Without titles, which repeat names, without defaults of null, in the wire's spelling."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain: JsonObject = {}
    for key, value in schema.items():
        if key == "properties":
            plain[key] = {name: _property(name, _plain(each)) for name, each in value.items()}
        elif key == "description":
            plain[key] = _wire_spelling(value)
        elif key != "title" and (key, value) != ("default", None):
            plain[key] = _plain(value)
    return plain


def _property(name: str, schema: JsonObject) -> JsonObject:
    """The wire names every time, and nothing else, `…At`."""
    if name.endswith("At") and schema.get("type") == "string":
        return {**schema, "format": "date-time"}
    return schema


def _wire_spelling(docstring: str) -> str:
    """A docstring's first paragraph; the names in it as they are in JSON."""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return re.sub(r"`(\w+)`", lambda name: f"`{to_camel(name[1])}`", paragraph)


def _tolerant(schema: JsonObject) -> JsonObject:
    """An answer's schema: fields may be added, and what has a default is always there."""
    if "properties" not in schema:
        return schema
    always = [name for name, each in schema["properties"].items() if "default" in each]
    required = sorted({*schema.get("required", ()), *always})
    tolerant = {key: value for key, value in schema.items() if key != "additionalProperties"}
    tolerant["properties"] = {
        name: {key: value for key, value in each.items() if key != "default"}
        for name, each in schema["properties"].items()
    }
    return {**tolerant, "required": required} if required else tolerant


def _open(schema: JsonObject) -> JsonObject:
    """Values are only ever added, and a generated `enum` fails on one that it does not know."""
    opened = dict(schema)
    values = opened.pop("enum")
    listed = ", ".join(f"`{value}`" for value in values)
    return {
        "description": f"{listed}, or one that came later.",
        **opened,
        "x-extensible-enum": values,
    }


def _with_open_values(schema: Any, values: Mapping[str, JsonObject]) -> Any:
    if isinstance(schema, list):
        return [_with_open_values(each, values) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if (value := values.get(str(schema.get("$ref")))) is not None:
        return {**value, **{key: each for key, each in schema.items() if key != "$ref"}}
    opened = {key: _with_open_values(value, values) for key, value in schema.items()}
    return _open(opened) if isinstance(opened.get("enum"), list) else opened


def _with_named_events(schema: Any) -> Any:
    """Names the union of events wherever any event may stand."""
    if isinstance(schema, list):
        return [_with_named_events(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("$ref") == REF.format(model=Event.__name__):
        return {"$ref": REF.format(model=EVENT)}
    return {key: _with_named_events(value) for key, value in schema.items()}
