"""The AsyncAPI document: committed as generated, and about the frames that there are."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]  # untyped
from tools.websocket_description.__main__ import PATH
from tools.websocket_description.document import as_json
from tools.websocket_description.frames import (
    CLIENT_FRAMES,
    SERVER_FRAMES,
    ClientFrame,
    ServerFrame,
)

import websocket_session.schemas
from commons.schemas import server_frames
from commons.schemas.base import BaseSchema
from commons.schemas.client_frames import ClientFrame as ClientFrameSchema
from websocket_sendmessage.schemas import SendMessage
from websocket_session import handler

ROOT = Path(__file__).parents[3]
DOCUMENT: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
PROSE = (ROOT / "docs" / "websocket.md").read_text(encoding="utf-8")


def test_the_committed_document_is_the_generated_one() -> None:
    assert PATH.read_text(encoding="utf-8") == as_json(), "run: poe describe"


def test_the_document_lies_beside_the_stack_that_it_describes() -> None:
    assert (ROOT / "stacks" / "websocket" / "asyncapi.json").resolve() == PATH.resolve()


def schemas_of(module: Any, base: type[BaseSchema]) -> set[type[BaseSchema]]:
    return {
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, base) and each is not base and each.__module__ == module.__name__
    }


def test_every_frame_of_clients_is_described() -> None:
    session = schemas_of(websocket_session.schemas, ClientFrameSchema)

    assert {each.schema for each in CLIENT_FRAMES} == {SendMessage, *session}


def test_every_frame_of_the_server_is_described() -> None:
    sent = {each for each in schemas_of(server_frames, BaseSchema) if "type" in each.model_fields}

    assert {each.schema for each in SERVER_FRAMES} == sent


def test_the_actions_are_those_that_the_functions_serve() -> None:
    served = {"sendmessage", *handler._ACTIONS}

    assert {each.action for each in CLIENT_FRAMES} == served


@pytest.mark.parametrize("frame", CLIENT_FRAMES, ids=lambda frame: frame.action)
def test_an_example_of_a_client_is_what_its_schema_says(frame: ClientFrame) -> None:
    validate(frame.schema, frame.example)

    assert frame.schema.model_validate(frame.example).to_wire() == frame.example


@pytest.mark.parametrize("frame", SERVER_FRAMES, ids=lambda frame: frame.type)
def test_an_example_of_the_server_is_what_its_schema_says(frame: ServerFrame) -> None:
    for example in frame.examples:
        validate(frame.schema, example)

        assert frame.schema.model_validate(example).to_wire() == example


def validate(schema: type[BaseSchema], payload: Any) -> None:
    reference = f"#/components/schemas/{schema.__name__}"
    Draft7Validator({"$ref": reference, "components": DOCUMENT["components"]}).validate(payload)


def test_every_message_belongs_to_an_operation_or_answers_one() -> None:
    mentioned = set(re.findall(r"#/channels/session/messages/(\w+)", json.dumps(DOCUMENT)))

    assert mentioned == set(DOCUMENT["channels"]["session"]["messages"])


@pytest.mark.parametrize("frame", [*CLIENT_FRAMES, *SERVER_FRAMES], ids=lambda f: f.schema.__name__)
def test_the_prose_names_every_frame_and_its_fields(frame: ClientFrame | ServerFrame) -> None:
    name = frame.action if isinstance(frame, ClientFrame) else frame.type
    fields = {field.alias or name for name, field in frame.schema.model_fields.items()}

    assert f"`{name}`" in PROSE
    for field in fields - {"type", "action"}:
        assert f"`{field}`" in PROSE, field
