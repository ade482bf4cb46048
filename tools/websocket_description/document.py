"""Puts the AsyncAPI document together from the frames and their schemas."""

import json
from typing import Any, Final

from tools.websocket_description.frames import (
    CLIENT_FRAMES,
    SERVER_FRAMES,
    ClientFrame,
    ServerFrame,
)

from commons.schemas.base import BaseSchema
from commons.schemas.problem import Problem
from commons.schemas.server_frames import ErrorFrame
from rest_api.description.document import CONTACT, LICENSE
from rest_api.description.json_schemas import REF, answer_schemas, event_union, request_schemas
from rest_api.version import VERSION

type JsonObject = dict[str, Any]

_CHANNEL: Final = "session"

_DESCRIPTION: Final = """\
One WebSocket carries everything of one user: what the user does, as frames with an `action`, and what \
happens in the channels that the connection is subscribed to, as frames with a `type`. \
docs/websocket.md tells the protocol in prose; the REST API is described by `openapi.json`.

**Opening.** `POST /v1/tickets` gives a ticket, which opens one connection within 60 s and is spent \
even by a refused handshake: `websocketUrl?ticket=…&channels=<id>,<id>`. Programs may send the header \
`Authorization: Bearer <JWT>` instead. `?token=<JWT>` works only where the stack allows it. A refused \
handshake is answered by 401, 403 or 429.

**Order.** Events of a channel are numbered 1, 2, 3 … without a gap. The first time that a `seq` is \
seen comes in order, repeats may come at any time, and a jump means that something was missed: ask \
`sync` for it. Delivery is a hint, the log is the truth; nothing acknowledged is lost.

**Life.** A connection lives as long as the token behind it; `authenticate` prolongs it. AWS ends one \
after 10 silent minutes and after 2 hours: ping at least every 5 minutes, and come back with \
`subscribe` and `after`.

**Growth.** Fields, values, frame types and event types are only ever added: ignore what you do not \
know. `requestId`, where a frame has one, comes back in its answer.

**Limits.** A client's frame has 32 KB at most; longer texts go by REST. A server's frame has 128 KB \
at most. A connection has 50 channels at most, a user 200 connections."""


def as_json() -> str:
    return json.dumps(build(), ensure_ascii=False, indent=1) + "\n"


def build() -> JsonObject:
    operations = {f"receive{each.schema.__name__}": _receive(each) for each in CLIENT_FRAMES}
    operations |= {
        f"send{each.schema.__name__}": _send(each) for each in SERVER_FRAMES if not each.is_answer
    }
    messages = {each.schema.__name__: _client_message(each) for each in CLIENT_FRAMES}
    messages |= {each.schema.__name__: _server_message(each) for each in SERVER_FRAMES}
    return {
        "asyncapi": "3.0.0",
        "id": "urn:chat-backend:websocket",
        "info": {
            "title": "Chat backend, WebSocket",
            "version": VERSION,
            "description": _DESCRIPTION,
            "contact": CONTACT,
            "license": {"name": LICENSE},
            "tags": [{"name": "chat", "description": "Group chat with AI agents."}],
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {
            _CHANNEL: {
                "address": "/",
                "title": "Session",
                "description": "One connection of one user. Frames are unescaped UTF-8 JSON objects.",
                "servers": [{"$ref": f"#/servers/{name}"} for name in _servers()],
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": _handshake()},
            }
        },
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": _schemas(),
            "securitySchemes": _security(),
            "correlationIds": {
                "requestId": {
                    "description": "Comes back in the answer.",
                    "location": "$message.payload#/requestId",
                }
            },
        },
    }


def _servers() -> JsonObject:
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in _security()]
    api_id: JsonObject = {"description": "The WebSocket API's id."}
    return {
        "aws": {
            "host": "{apiId}.execute-api.{region}.amazonaws.com",
            "pathname": "/{stage}",
            "protocol": "wss",
            "description": "The websocket stack publishes the whole URL: "
            "/chat/{stage}/websocket/url in SSM.",
            "variables": {
                "apiId": api_id,
                "region": {"default": "eu-central-1", "description": "The stack's."},
                "stage": {"default": "dev", "description": "Names the environment."},
            },
            "security": security,
        },
        "local": {
            "host": "127.0.0.1:{port}",
            "pathname": "/_aws/execute-api/{apiId}/{stage}",
            "protocol": "ws",
            "description": "The stack on this machine; .local/outputs.json holds the whole URL.",
            "variables": {
                "port": {"default": "4566", "description": "CHAT_PORT."},
                "apiId": api_id,
                "stage": {"default": "local", "description": "Always the same."},
            },
            "security": security,
        },
    }


def _security() -> JsonObject:
    return {
        "ticket": {
            "type": "httpApiKey",
            "in": "query",
            "name": "ticket",
            "description": "From `POST /v1/tickets`: once, within 60 s.",
        },
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "For programs, which can send a header.",
        },
        "token": {
            "type": "httpApiKey",
            "in": "query",
            "name": "token",
            "description": "A JWT; only where the stack's `AllowTokenInQuery` is on.",
        },
    }


def _handshake() -> JsonObject:
    return {
        "method": "GET",
        "query": {
            "type": "object",
            "properties": {
                "ticket": {"type": "string", "description": "From `POST /v1/tickets`."},
                "token": {"type": "string", "description": "A JWT, where the stack allows it."},
                "channels": {
                    "type": "string",
                    "description": "Ids to subscribe to, by commas, at most 50.",
                },
            },
        },
        "headers": {
            "type": "object",
            "properties": {
                "Authorization": {"type": "string", "description": "`Bearer` and a JWT."}
            },
        },
        "bindingVersion": "0.1.0",
    }


def _receive(frame: ClientFrame) -> JsonObject:
    answers = [each for each in (frame.answer, ErrorFrame) if each is not None]
    return {
        **_operation("receive", frame.schema, frame.summary, frame.description),
        "reply": {
            "channel": {"$ref": f"#/channels/{_CHANNEL}"},
            "messages": [_channel_message(schema) for schema in answers],
        },
    }


def _send(frame: ServerFrame) -> JsonObject:
    return _operation("send", frame.schema, frame.summary, frame.description)


def _operation(action: str, schema: type[BaseSchema], summary: str, description: str) -> JsonObject:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{_CHANNEL}"},
        "title": schema.__name__,
        "summary": summary,
        "description": description or f"{summary}.",
        "messages": [_channel_message(schema)],
    }


def _channel_message(schema: type[BaseSchema]) -> JsonObject:
    return {"$ref": f"#/channels/{_CHANNEL}/messages/{schema.__name__}"}


def _client_message(frame: ClientFrame) -> JsonObject:
    return _message(frame.schema, frame.action, frame.summary, [frame.example])


def _server_message(frame: ServerFrame) -> JsonObject:
    return _message(frame.schema, frame.type, frame.summary, list(frame.examples))


def _message(
    schema: type[BaseSchema], name: str, summary: str, payloads: list[JsonObject]
) -> JsonObject:
    message: JsonObject = {
        "name": name,
        "title": schema.__name__,
        "summary": summary,
        "contentType": "application/json",
        "payload": {"$ref": REF.format(model=schema.__name__)},
        "examples": [{"payload": payload} for payload in payloads],
    }
    if "request_id" in schema.model_fields:
        message["correlationId"] = {"$ref": "#/components/correlationIds/requestId"}
    return message


def _schemas() -> JsonObject:
    coming_in = request_schemas(each.schema for each in CLIENT_FRAMES)
    going_out = answer_schemas([*(each.schema for each in SERVER_FRAMES), Problem])
    going_out[ErrorFrame.__name__]["properties"]["error"] = {"$ref": REF.format(model="Problem")}
    return dict(sorted({**coming_in, **going_out, **event_union()}.items()))
