"""OpenAI's Chat Completions as the demo model speaks them."""

import json
import time
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from devstack.demo_model.behaviour import StreamException
from devstack.demo_model.script import Answer, Ask, question_of

STREAM_CONTENT_TYPE = "text/event-stream"
MODEL_ID = "scripted-demo"

_FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "filtered": "content_filter",
    "tool_calls": "tool_calls",
}
_ERROR_CODES = {400: "invalid_request_error", 429: "rate_limit_exceeded", 503: "overloaded"}
_STREAM_CODES: Mapping[StreamException, str] = {
    "throttlingException": "rate_limit_exceeded",
    "validationException": "invalid_request_error",
    "serviceUnavailableException": "service_unavailable",
}


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Part(_Wire):
    text: str = ""


class _Message(_Wire):
    role: str
    content: str | list[_Part] | None = None

    @property
    def parts(self) -> list[str]:
        if isinstance(self.content, str):
            return [self.content]
        return [part.text for part in self.content or []]

    @property
    def text(self) -> str:
        return "\n".join(self.parts)


class _StreamOptions(_Wire):
    include_usage: bool = False


class _Function(_Wire):
    name: str


class _Tool(_Wire):
    function: _Function


class CompletionsRequest(_Wire):
    model: str
    messages: list[_Message] = Field(min_length=1)
    stream: bool = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    tools: list[_Tool] = []


def read_request(body: bytes) -> Ask:
    """The request to `/v1/chat/completions`.

    Raises:
        pydantic.ValidationError: the body is no such request.
    """
    request = CompletionsRequest.model_validate_json(body)
    spoken = [
        message for message in request.messages if message.role not in {"system", "developer"}
    ]
    system = [message.text for message in request.messages if message not in spoken]
    asked = [message for message in spoken if message.role == "user"]
    last = asked[-1].parts if asked else []
    return Ask(
        protocol="openai",
        model_id=request.model,
        text=question_of(last[-1] if last else ""),
        system="\n".join(system),
        conversation=tuple((message.role, message.text) for message in spoken),
        max_tokens=request.max_completion_tokens or request.max_tokens,
        stream=request.stream,
        include_usage=request.stream_options is not None and request.stream_options.include_usage,
        tools=tuple(tool.function.name for tool in request.tools),
        results=tuple(message.text for message in spoken if message.role == "tool"),
    )


def _chunk(
    ask: Ask, choices: Sequence[Mapping[str, object]], usage: Mapping[str, int] | None = None
) -> bytes:
    chunk: dict[str, object] = {
        "id": "chatcmpl-demo",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": ask.model_id,
        "choices": choices,
    }
    if usage is not None:
        chunk["usage"] = usage
    return _data(chunk)


def opening(ask: Ask) -> bytes:
    delta = {"role": "assistant", "content": ""}
    return _chunk(ask, [{"index": 0, "delta": delta, "finish_reason": None}])


def word(ask: Ask, text: str) -> bytes:
    return _chunk(ask, [{"index": 0, "delta": {"content": text}, "finish_reason": None}])


def _calls(ask: Ask, answer: Answer) -> bytes:
    """Each call in two pieces, as OpenAI streams them."""
    pieces = b""
    for index, call in enumerate(answer.calls):
        half = len(call.arguments) // 2
        begun = {
            "index": index,
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.tool, "arguments": call.arguments[:half]},
        }
        rest = {"index": index, "function": {"arguments": call.arguments[half:]}}
        for piece in (begun, rest):
            delta = {"tool_calls": [piece]}
            pieces += _chunk(ask, [{"index": 0, "delta": delta, "finish_reason": None}])
    return pieces


def closing(ask: Ask, answer: Answer) -> bytes:
    finish = _FINISH_REASONS[answer.finish]
    last = _chunk(ask, [{"index": 0, "delta": {}, "finish_reason": finish}])
    usage = _chunk(ask, [], _usage(answer)) if ask.include_usage else b""
    return _calls(ask, answer) + last + usage + b"data: [DONE]\n\n"


def stream_exception(exception: StreamException, message: str) -> bytes:
    code = _STREAM_CODES.get(exception, "server_error")
    return _data({"error": {"message": message, "type": code, "code": code}})


def whole(ask: Ask, answer: Answer) -> bytes:
    """The answer to a request that does not stream."""
    message: dict[str, object] = {"role": "assistant", "content": answer.text}
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.tool, "arguments": call.arguments},
            }
            for call in answer.calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": _FINISH_REASONS[answer.finish]}
    return _json(
        {
            "id": "chatcmpl-demo",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": ask.model_id,
            "choices": [choice],
            "usage": _usage(answer),
        }
    )


def models() -> bytes:
    model = {"id": MODEL_ID, "object": "model", "created": 0, "owned_by": "devstack"}
    return _json({"object": "list", "data": [model]})


def error(status: int, message: str) -> tuple[dict[str, str], bytes]:
    """Headers and body of a refusal."""
    code = _ERROR_CODES.get(status, "server_error")
    return {}, _json({"error": {"message": message, "type": code, "param": None, "code": code}})


def _usage(answer: Answer) -> dict[str, int]:
    spoken = len(answer.words)
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": spoken,
        "total_tokens": answer.input_tokens + spoken,
    }


def _data(value: Mapping[str, object]) -> bytes:
    return b"data: " + _json(value) + b"\n\n"


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
