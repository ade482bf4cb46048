"""Examples that the document shows."""

from typing import Any

type JsonObject = dict[str, Any]

CHANNEL_ID = "Zt8bq1uX0cQmW5yKp3hD7A"

AGENT: JsonObject = {
    "mode": "always",
    "modelId": "demo-model",
    "systemPrompt": "You answer in one sentence.",
    "maxTokens": 1024,
    "temperature": 0.2,
}
CHANNEL: JsonObject = {
    "channelId": CHANNEL_ID,
    "name": "Release 2.0",
    "createdAt": "2026-03-01T09:00:00.000Z",
    "createdBy": "alice",
    "role": "owner",
    "memberCount": 2,
    "lastSeq": 12,
    "lastEventAt": "2026-03-01T09:05:00.000Z",
    "readSeq": 10,
    "unreadCount": 1,
    "agent": AGENT,
}
MEMBER: JsonObject = {
    "userId": "bob",
    "name": "Bob",
    "role": "member",
    "joinedAt": "2026-03-01T09:00:00.000Z",
    "readSeq": 0,
}
SENDER: JsonObject = {"id": "alice", "name": "Alice", "kind": "user"}
# Without a clientMessageId: what a page fills in by itself would be a 409 the second time.
POST: JsonObject = {"text": "When do we ship?"}
EVENT: JsonObject = {
    "channelId": CHANNEL_ID,
    "seq": 12,
    "type": "message.created",
    "createdAt": "2026-03-01T09:05:00.000Z",
    "sender": SENDER,
    "clientMessageId": "c6a1f0d2-1",
    "data": {"text": "When do we ship?"},
}
MESSAGE: JsonObject = {
    "channelId": CHANNEL_ID,
    "seq": 12,
    "createdAt": "2026-03-01T09:05:00.000Z",
    "sender": SENDER,
    "text": "When do we ship?",
    "reactions": {"👍": ["bob"]},
}
EDITED_MESSAGE: JsonObject = {
    **MESSAGE,
    "editedAt": "2026-03-01T09:06:00.000Z",
    "text": "When do we ship 2.0?",
}
PROBLEMS: dict[int, JsonObject] = {
    400: {
        "type": "urn:problem-type:chat:malformed-request",
        "title": "The request cannot be read",
        "status": 400,
        "detail": "The body is not valid JSON.",
    },
    401: {
        "type": "urn:problem-type:chat:unauthenticated",
        "title": "A valid token is needed",
        "status": 401,
        "detail": "Send a valid token: Authorization: Bearer …",
    },
    403: {
        "type": "urn:problem-type:chat:forbidden",
        "title": "The caller's role does not allow this",
        "status": 403,
        "detail": "Only an owner of the channel may do this.",
    },
    404: {
        "type": "urn:problem-type:chat:not-found",
        "title": "There is no such thing",
        "status": 404,
        "detail": "There is no such channel, or you are no member of it.",
    },
    409: {
        "type": "urn:problem-type:chat:conflict",
        "title": "The request conflicts with the current state",
        "status": 409,
        "detail": "The message was deleted.",
    },
    413: {
        "type": "urn:problem-type:chat:too-large",
        "title": "The request is too large",
        "status": 413,
        "detail": "text: at most 16000 characters",
    },
    415: {
        "type": "urn:problem-type:chat:unsupported-media-type",
        "title": "The body must be application/json",
        "status": 415,
        "detail": "Send the body as application/json.",
    },
    422: {
        "type": "urn:problem-type:chat:invalid-request",
        "title": "A field is wrong",
        "status": 422,
        "detail": "At least one field is wrong.",
        "errors": [{"field": "limit", "message": "Input should be less than or equal to 100"}],
    },
    429: {
        "type": "urn:problem-type:chat:too-many-requests",
        "title": "Too many requests",
        "status": 429,
        "detail": "At most 20 posts a second.",
    },
    503: {
        "type": "urn:problem-type:chat:unavailable",
        "title": "The service cannot be reached right now",
        "status": 503,
        "detail": "Nothing is known to be wrong with the request: try again.",
    },
}

CALL_ID = "000000000c0000010000" + "9b74c9897bac770ffc029102a200c5de"
TOOL: JsonObject = {
    "name": "notes.add",
    "title": "Add a note",
    "description": "Keeps a note.",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
    },
    "approval": "requester",
    "readOnly": False,
    "idempotent": True,
}
DECIDED: JsonObject = {
    "channelId": CHANNEL_ID,
    "seq": 14,
    "type": "tool.decided",
    "createdAt": "2026-03-01T09:05:10.000Z",
    "sender": SENDER,
    "data": {"target": 12, "generation": 1, "callId": CALL_ID, "decision": "approved"},
}
