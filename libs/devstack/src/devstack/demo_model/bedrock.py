"""Bedrock's Converse and ConverseStream as the demo model speaks them.

Event-stream frames: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
(the same encoding); the events: API_runtime_ConverseStream in Bedrock's API reference.
"""

import json
import struct
from binascii import crc32
from collections.abc import Mapping
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field

from devstack.demo_model.behaviour import StreamException
from devstack.demo_model.script import Answer, Ask, question_of

STREAM_CONTENT_TYPE = "application/vnd.amazon.eventstream"

_STRING_HEADER = 7
_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "filtered": "content_filtered",
    "tool_calls": "tool_use",
}
_ERROR_TYPES = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Text(_Wire):
    text: str = ""


class _ToolResult(_Wire):
    content: list[_Text]


class _Block(_Text):
    tool_result: _ToolResult | None = Field(default=None, alias="toolResult")


class _Message(_Wire):
    role: str
    content: list[_Block]

    @property
    def text(self) -> str:
        return "\n".join(block.text for block in self.content)

    @property
    def results(self) -> list[str]:
        results = [block.tool_result for block in self.content if block.tool_result is not None]
        return ["".join(block.text for block in result.content) for result in results]


class _ToolSpec(_Wire):
    name: str


class _Tool(_Wire):
    spec: _ToolSpec | None = Field(default=None, alias="toolSpec")


class _ToolConfig(_Wire):
    tools: list[_Tool] = []


class _InferenceConfig(_Wire):
    max_tokens: int | None = Field(default=None, alias="maxTokens")


class ConverseRequest(_Wire):
    messages: list[_Message] = Field(min_length=1)
    system: list[_Block] = []
    inference_config: _InferenceConfig = Field(default=_InferenceConfig(), alias="inferenceConfig")
    tool_config: _ToolConfig = Field(default=_ToolConfig(), alias="toolConfig")

    @property
    def question(self) -> str:
        """What the last of those who spoke said; results are nobody's words."""
        asked = [each for each in self.messages if each.role == "user" and not each.results]
        texts = [block.text for block in (asked or self.messages)[-1].content if block.text]
        return texts[-1] if texts else ""


def read_request(path: str, body: bytes) -> Ask:
    """The request to `/model/{modelId}/converse` or `…/converse-stream`.

    Raises:
        pydantic.ValidationError: the body is no such request.
    """
    request = ConverseRequest.model_validate_json(body)
    model_id, operation = path.removeprefix("/model/").rsplit("/", 1)
    return Ask(
        protocol="bedrock",
        model_id=unquote(model_id),
        text=question_of(request.question),
        system="\n".join(block.text for block in request.system),
        conversation=tuple((message.role, message.text) for message in request.messages),
        max_tokens=request.inference_config.max_tokens,
        stream=operation == "converse-stream",
        tools=tuple(tool.spec.name for tool in request.tool_config.tools if tool.spec is not None),
        results=tuple(result for message in request.messages for result in message.results),
    )


def encode_frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One event-stream message: prelude, its CRC, headers, payload, the CRC of all of it."""
    encoded = b"".join(
        struct.pack("!B", len(name))
        + name.encode()
        + struct.pack("!BH", _STRING_HEADER, len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    # 16 bytes: the prelude (8), its CRC (4) and the message's (4).
    prelude = struct.pack("!II", len(encoded) + len(payload) + 16, len(encoded))
    message = prelude + struct.pack("!I", crc32(prelude)) + encoded + payload
    return message + struct.pack("!I", crc32(message))


def _event(event_type: str, payload: Mapping[str, object]) -> bytes:
    headers = {
        ":event-type": event_type,
        ":content-type": "application/json",
        ":message-type": "event",
    }
    return encode_frame(headers, _json(payload))


def opening() -> bytes:
    return _event("messageStart", {"role": "assistant"})


def word(text: str) -> bytes:
    return _event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})


def closing(answer: Answer) -> bytes:
    return (
        _event("contentBlockStop", {"contentBlockIndex": 0})
        + _calls(answer)
        + _event("messageStop", {"stopReason": _STOP_REASONS[answer.finish]})
        + _event("metadata", {"usage": _usage(answer), "metrics": {"latencyMs": 1}})
    )


def _calls(answer: Answer) -> bytes:
    """Each call in two pieces, as Bedrock streams them."""
    blocks = b""
    for block, call in enumerate(answer.calls, start=1):
        start = {"toolUse": {"toolUseId": call.call_id, "name": call.tool}}
        blocks += _event("contentBlockStart", {"contentBlockIndex": block, "start": start})
        half = len(call.arguments) // 2
        for piece in (call.arguments[:half], call.arguments[half:]):
            delta = {"toolUse": {"input": piece}}
            blocks += _event("contentBlockDelta", {"contentBlockIndex": block, "delta": delta})
        blocks += _event("contentBlockStop", {"contentBlockIndex": block})
    return blocks


def stream_exception(exception: StreamException, message: str) -> bytes:
    headers = {
        ":exception-type": exception,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return encode_frame(headers, _json({"message": message}))


def whole(answer: Answer) -> bytes:
    """The answer of Converse, which does not stream."""
    content: list[dict[str, object]] = [{"text": answer.text}] if answer.words else []
    content += [
        {
            "toolUse": {
                "toolUseId": call.call_id,
                "name": call.tool,
                "input": json.loads(call.arguments),
            }
        }
        for call in answer.calls
    ]
    return _json(
        {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": _STOP_REASONS[answer.finish],
            "usage": _usage(answer),
            "metrics": {"latencyMs": 1},
        }
    )


def error(status: int, message: str) -> tuple[dict[str, str], bytes]:
    """Headers and body of a refusal."""
    error_type = _ERROR_TYPES.get(status, "InternalServerException")
    return {"x-amzn-errortype": error_type}, _json({"message": message})


def _usage(answer: Answer) -> dict[str, int]:
    spoken = len(answer.words)
    return {
        "inputTokens": answer.input_tokens,
        "outputTokens": spoken,
        "totalTokens": answer.input_tokens + spoken,
    }


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
