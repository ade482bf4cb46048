"""The OpenAPI document: committed as generated, valid, and about the routes that there are."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # untyped
from openapi_spec_validator import validate
from tests.doubles.repository import InMemoryRepository

from commons import errors
from commons.json_text import MAX_DEPTH
from rest_api.app import RestApi
from rest_api.composition import build_services
from rest_api.description import examples
from rest_api.description.__main__ import PATH
from rest_api.description.document import as_json
from rest_api.settings import Settings

ROOT = Path(__file__).parents[3]
DOCUMENT: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
OPERATIONS = [
    (method, path, operation)
    for path, verbs in DOCUMENT["paths"].items()
    for method, operation in verbs.items()
]

type Routes = set[tuple[str, str]]


def test_the_committed_document_is_the_generated_one() -> None:
    assert PATH.read_text(encoding="utf-8") == as_json(), "run: poe describe"


def test_the_document_lies_beside_the_stack_that_serves_it() -> None:
    assert (ROOT / "stacks" / "rest" / "openapi.json").resolve() == PATH.resolve()


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


def described_routes() -> Routes:
    return {(method, re.sub(r"{\w+}", "{}", path)) for method, path, _ in OPERATIONS}


def test_the_document_and_the_function_name_the_same_routes(
    repository: InMemoryRepository,
) -> None:
    settings = Settings(
        websocket_callback_url="http://127.0.0.1:9", allowed_models="m", cursor_secret_arn="arn"
    )
    app = RestApi(build_services(settings, repository=repository), allowed_origins=[])._app

    routes = {
        (route.method.lower(), re.sub(r"<\w+>", "{}", route.path) or "/")
        for route in app._static_routes + app._dynamic_routes
    }

    assert routes == described_routes()


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_an_operation_has_an_id_a_summary_a_description_errors_and_an_example(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    assert operation["operationId"]
    assert operation["summary"]
    assert operation["description"]
    assert any(status.startswith("4") for status in operation["responses"])
    for parameter in operation.get("parameters", []):
        assert parameter["description"]
    for status, response in operation["responses"].items():
        for media in response.get("content", {}).values():
            assert "example" in media, (status, path)


def test_a_cursor_is_not_empty() -> None:
    cursors = [
        parameter["schema"]
        for _, _, operation in OPERATIONS
        for parameter in operation.get("parameters", [])
        if parameter["name"] == "cursor"
    ]

    assert cursors == [{"type": "string", "minLength": 1}] * 5


def test_the_depth_of_json_is_written_down() -> None:
    problems = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")

    for text in (DOCUMENT["info"]["description"], problems):
        assert f"{MAX_DEPTH} levels" in text


def test_examples_are_what_their_schemas_say() -> None:
    checked = 0
    found = list(medias(DOCUMENT))
    for media in found:
        schema = {**media["schema"], "components": DOCUMENT["components"]}
        Draft202012Validator(schema).validate(media["example"])
        checked += 1

    assert checked > 30


def medias(node: Any) -> Any:
    if isinstance(node, dict):
        if {"schema", "example"} <= node.keys():
            yield node
        for each in node.values():
            yield from medias(each)
    elif isinstance(node, list):
        for each in node:
            yield from medias(each)


SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def test_posting_answers_the_message_that_was_created() -> None:
    responses = DOCUMENT["paths"]["/v1/channels/{channelId}/messages"]["post"]["responses"]

    for status in ("200", "201"):
        schema = responses[status]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/MessageCreated"}


def conforms(name: str, value: Any) -> bool:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return bool(Draft202012Validator(schema).is_valid(value))


def test_an_event_of_a_later_type_is_an_event() -> None:
    later = {**examples.EVENT, "type": "poll.opened", "data": {"options": 3}}
    broken = {**examples.EVENT, "data": {"options": 3}}

    assert conforms("ChatEvent", examples.EVENT)
    assert conforms("ChatEvent", later)
    assert not conforms("ChatEvent", broken)
    assert "discriminator" not in SCHEMAS["ChatEvent"]


def test_answers_leave_room_for_values_to_come_and_requests_do_not() -> None:
    assert conforms("Message", {**examples.MESSAGE, "finishReason": "later"})
    assert not conforms("PutMember", {"role": "later"})


def properties(node: Any) -> Any:
    if isinstance(node, dict):
        yield from node.get("properties", {}).items()
        for each in node.values():
            yield from properties(each)
    elif isinstance(node, list):
        for each in node:
            yield from properties(each)


def test_times_are_said_to_be_times() -> None:
    times = {name: each for name, each in properties(SCHEMAS) if name.endswith("At")}

    assert times.keys() >= {"createdAt", "editedAt", "deletedAt", "joinedAt", "lastEventAt"}
    assert all(each["format"] == "date-time" for each in times.values())


def test_no_schema_hides_a_type_of_the_dom() -> None:
    assert not SCHEMAS.keys() & {"Event", "Document", "MessageEvent", "Request", "Response"}


def test_what_a_page_fills_in_can_be_sent_twice() -> None:
    parameters = [
        parameter
        for _, _, operation in OPERATIONS
        for parameter in operation.get("parameters", [])
        if parameter["name"] == "Idempotency-Key"
    ]
    bodies = [
        media["example"]
        for _, _, operation in OPERATIONS
        for media in medias(operation.get("requestBody", {}))
    ]

    assert len(parameters) == 1
    assert "example" not in parameters[0]
    assert bodies
    assert not any("clientMessageId" in body for body in bodies)


def test_every_kind_of_error_is_explained() -> None:
    explained = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")
    codes = {
        error.code
        for _, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, errors.ChatError) and hasattr(error, "code")
    }
    in_template = set(
        re.findall(
            r"urn:problem-type:chat:([a-z-]+)",
            (ROOT / "stacks" / "rest" / "template.yaml").read_text(encoding="utf-8"),
        )
    )

    for code in codes | in_template | {"internal-error"}:
        assert f"`{code}`" in explained, code
