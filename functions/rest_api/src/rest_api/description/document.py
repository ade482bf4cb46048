"""Puts the OpenAPI document together from the operations and the schemas."""

import json
import re
from typing import Final

from commons.json_text import MAX_DEPTH
from commons.schemas.problem import Problem
from commons.schemas.types import MAX_METADATA_BYTES, MAX_TEXT
from rest_api.description import examples
from rest_api.description.json_schemas import (
    REF,
    answer_schemas,
    event_union,
    query_parameters,
    request_schemas,
)
from rest_api.description.operation import Body, JsonObject, Operation, Success
from rest_api.description.operations import OPERATIONS
from rest_api.version import VERSION

CONTACT: Final = {"name": "The owners of the stack: its README says who, and how to reach them"}
LICENSE: Final = "Proprietary"

_TAGS: Final = {
    "Channels": "Where people talk, and the agent's settings there.",
    "Members": "Who is in a channel, in which role.",
    "Messages": "Messages as they stand: edits, reactions and deletions applied.",
    "Agent": "Replies of the agent, and the tools that it calls.",
    "Log": "Everything that happened in a channel, in order.",
    "Service": "The API itself, and who is calling.",
}

_PATH_PARAMETERS: Final[dict[str, JsonObject]] = {
    "channelId": {
        "description": "The channel's id.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"},
        "example": examples.CHANNEL_ID,
    },
    "userId": {
        "description": "The user's id.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:@|+-]{1,128}$"},
        "example": "bob",
    },
    "seq": {
        "description": "The message's number.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 10**12 - 1},
        "example": 12,
    },
    "callId": {
        "description": "The call's id, as `tool.requested` says it.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{52}$"},
        "example": examples.CALL_ID,
    },
    "emoji": {
        "description": "1 to 32 code points, percent-encoded.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 32},
        "example": "👍",
    },
}

_QUERY_DESCRIPTIONS: Final = {
    "limit": "How many at most.",
    "cursor": "The `nextCursor` of the page before.",
    "before": "Only what is older than this number.",
    "after": "Only what is newer than this number.",
    "from": "The first day, in UTC.",
    "to": "The last day, in UTC.",
}

_ERROR_DESCRIPTIONS: Final = {
    400: "The request cannot be read: malformed JSON, or a cursor of another list.",
    401: "No valid token.",
    403: "A member without the role.",
    404: "Unknown, path and verb included, or a channel that the caller is no member of.",
    409: "The state does not allow it.",
    413: "The body or a field is too large.",
    415: "The body is not JSON.",
    422: "A field or parameter is wrong, or unknown.",
    429: "Too many requests; `Retry-After` says when to try again.",
    503: "Storage, or the issuer of tokens, is not to be reached; `Retry-After` says when to try again.",
}


def as_json() -> str:
    return json.dumps(build(), ensure_ascii=False, indent=1) + "\n"


def build() -> JsonObject:
    paths: JsonObject = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Chat backend",
            "version": VERSION,
            "summary": "Group chat with AI agents.",
            "description": "Errors are RFC 9457 problems; docs/problems.md explains each `type`. "
            "Times are RFC 3339 in UTC with milliseconds. A field without a value is left out. "
            "Clients ignore fields, values and event types that they do not know. "
            "What comes by WebSocket is described by [asyncapi.json](asyncapi.json), and in prose "
            "by docs/websocket.md; the clients that there are, by docs/clients.md. "
            f"JSON nests {MAX_DEPTH} levels of objects and arrays at most, the body itself "
            "included, and holds no number beyond a double's range.",
            "contact": CONTACT,
            "license": {"name": LICENSE, "identifier": f"LicenseRef-{LICENSE}"},
        },
        "servers": [{"url": ".", "description": "Where this document is served."}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
            "responses": {
                _error_name(status): _error(status)
                for status in sorted({each for one in OPERATIONS for each in one.statuses})
            },
            "schemas": _schemas(),
        },
    }


def _operation(operation: Operation) -> JsonObject:
    described: JsonObject = {
        "operationId": operation.operation_id,
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    if operation.description:
        described["description"] = operation.description
    if not operation.has_token:
        described["security"] = []
    if parameters := _parameters(operation):
        described["parameters"] = parameters
    if operation.request is not None:
        described["requestBody"] = {
            "required": operation.request.required,
            "content": {"application/json": _media(operation.request)},
        }
    described["responses"] = {
        **{str(success.status): _success(success) for success in operation.successes},
        **{
            str(status): {"$ref": f"#/components/responses/{_error_name(status)}"}
            for status in operation.statuses
        },
    }
    return described


def _parameters(operation: Operation) -> list[JsonObject]:
    names = re.findall(r"{(\w+)}", operation.path)
    parameters = [
        {"name": name, "in": "path", "required": True, **_PATH_PARAMETERS[name]} for name in names
    ]
    if operation.query is not None:
        for name, schema in query_parameters(operation.query).items():
            parameters.append(
                {
                    "name": name,
                    "in": "query",
                    "description": _QUERY_DESCRIPTIONS[name],
                    "schema": schema,
                }
            )
    return [*parameters, *operation.headers]


def _success(success: Success) -> JsonObject:
    described: JsonObject = {"description": success.description}
    if success.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in success.headers.items()
        }
    if success.body is not None:
        described["content"] = {success.media_type: _media(success.body)}
    elif success.media_type == "text/html":
        described["content"] = {
            "text/html": {"schema": {"type": "string"}, "example": "<!doctype html>"}
        }
    return described


def _media(body: Body) -> JsonObject:
    name = body.schema if isinstance(body.schema, str) else body.schema.__name__
    return {"schema": {"$ref": REF.format(model=name)}, "example": body.example}


def _error_name(status: int) -> str:
    kind: str = examples.PROBLEMS[status]["type"].rpartition(":")[2]
    return "".join(word.title() for word in kind.split("-"))


def _error(status: int) -> JsonObject:
    described: JsonObject = {
        "description": _ERROR_DESCRIPTIONS[status],
        "content": {
            "application/problem+json": {
                "schema": {"$ref": REF.format(model="Problem")},
                "example": examples.PROBLEMS[status],
            }
        },
    }
    if status in {429, 503}:
        described["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}
        }
    return described


def _schemas() -> JsonObject:
    requests = {
        operation.request.schema
        for operation in OPERATIONS
        if operation.request is not None and not isinstance(operation.request.schema, str)
    }
    answers = {
        success.body.schema
        for operation in OPERATIONS
        for success in operation.successes
        if success.body is not None and not isinstance(success.body.schema, str)
    }
    coming_in = request_schemas(requests)
    going_out = {**answer_schemas({*answers, Problem}), **event_union()}
    for name in coming_in.keys() & going_out.keys():
        if coming_in[name] != going_out[name]:
            raise ValueError(f"{name} is another schema as a request than as an answer")
    for name in ("PostMessage", "EditMessage"):
        # Not as maxLength: what is longer is a 413, and tools expect a 422 of a broken schema.
        coming_in[name]["properties"]["text"][
            "description"
        ] = f"At most {MAX_TEXT:,} Unicode code points; more is a 413."
    coming_in["PostMessage"]["properties"]["metadata"][
        "description"
    ] = f"At most {MAX_METADATA_BYTES:,} bytes of JSON; more is a 413."
    schemas = {
        **coming_in,
        **going_out,
        "Accepted": {"type": "object", "description": "Nothing to say yet."},
        "OpenApiDocument": {"type": "object", "description": "OpenAPI."},
        "AsyncApiDocument": {"type": "object", "description": "AsyncAPI."},
    }
    return dict(sorted(schemas.items()))
