"""A prompt as Bedrock's ConverseStream takes it."""

import json
import re
from typing import TYPE_CHECKING, Final, Literal

from workers_agent.model import AnsweredCall, Prompt, Step

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime.type_defs import (
        ContentBlockUnionTypeDef,
        ConverseStreamRequestTypeDef,
        MessageUnionTypeDef,
        SystemContentBlockTypeDef,
        ToolSpecificationTypeDef,
        ToolTypeDef,
    )

CACHING_MODELS: Final = (
    "amazon.nova",
    "anthropic.claude-3-5-haiku",
    "anthropic.claude-3-7",
    "anthropic.claude-haiku-4",
    "anthropic.claude-opus-4",
    "anthropic.claude-sonnet-4",
)
"""Models that take cache points; others refuse the whole request (Bedrock user guide, "Prompt
caching for faster model inference")."""

TOOL_CACHING_MODELS: Final = "anthropic.claude"
"""Of those the ones that take a cache point after their tools (the same table)."""

_CACHED_TURNS: Final = 2
"""The end of the last request, which is read, and of this one, which is written. Four cache points
are the most of a request: these, the instructions' and the tools'."""

_NO_MORE_CALLS: Final = "No more tools can be called for this reply. Answer with what there is."
"""The protocol has no way to forbid calls, and wants the tools named that the steps have called."""

_NO_OUTPUT: Final = "(no output)"
"""Bedrock refuses blank text."""

_TOOL_USE_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def request_of(prompt: Prompt) -> "ConverseStreamRequestTypeDef":
    """What is sent for a prompt."""
    caches = _can_cache(prompt.model_id)
    system: list[SystemContentBlockTypeDef] = [{"text": prompt.instructions}]
    if caches:
        system.append({"cachePoint": {"type": "default"}})
    request: ConverseStreamRequestTypeDef = {
        "modelId": prompt.model_id,
        "system": system,
        "messages": _messages(prompt, caches=caches),
        "inferenceConfig": {"maxTokens": prompt.max_tokens},
    }
    if prompt.temperature is not None:
        request["inferenceConfig"] = {
            "maxTokens": prompt.max_tokens,
            "temperature": prompt.temperature,
        }
    if prompt.tools:
        request["toolConfig"] = {"tools": _tools(prompt)}
    return request


def _messages(prompt: Prompt, *, caches: bool) -> "list[MessageUnionTypeDef]":
    contents: list[tuple[Literal["user", "assistant"], list[ContentBlockUnionTypeDef]]] = [
        ("user" if turn.role == "user" else "assistant", [{"text": turn.text}])
        for turn in prompt.turns
    ]
    for step in prompt.steps:
        contents += [("assistant", _asked(step)), ("user", _answered(step))]
    if prompt.steps and not prompt.may_call:
        contents[-1][1].append({"text": _NO_MORE_CALLS})
    questions = [content for role, content in contents if role == "user"]
    for content in questions[-_CACHED_TURNS:] if caches else ():
        content.append({"cachePoint": {"type": "default"}})
    return [{"role": role, "content": content} for role, content in contents]


def _asked(step: Step) -> "list[ContentBlockUnionTypeDef]":
    content: list[ContentBlockUnionTypeDef] = [{"text": step.text}] if step.text.strip() else []
    for position, call in enumerate(step.calls):
        use_id = _tool_use_id(call, position)
        arguments = json.loads(call.arguments)
        content.append({"toolUse": {"toolUseId": use_id, "name": call.name, "input": arguments}})
    return content


def _answered(step: Step) -> "list[ContentBlockUnionTypeDef]":
    return [
        {
            "toolResult": {
                "toolUseId": _tool_use_id(call, position),
                "content": [{"text": call.result if call.result.strip() else _NO_OUTPUT}],
                "status": "error" if call.is_error else "success",
            }
        }
        for position, call in enumerate(step.calls)
    ]


def _tool_use_id(call: AnsweredCall, position: int) -> str:
    """The call's own, unless another provider has written the step, whose ids Bedrock refuses."""
    return call.call_id if _TOOL_USE_ID.fullmatch(call.call_id) else f"call-{position}"


def _tools(prompt: Prompt) -> "list[ToolTypeDef]":
    tools: list[ToolTypeDef] = []
    for tool in prompt.tools:
        spec: ToolSpecificationTypeDef = {
            "name": tool.name,
            "inputSchema": {"json": tool.input_schema},
        }
        if tool.description.strip():
            spec["description"] = tool.description
        tools.append({"toolSpec": spec})
    if TOOL_CACHING_MODELS in prompt.model_id and _can_cache(prompt.model_id):
        tools.append({"cachePoint": {"type": "default"}})
    return tools


def _can_cache(model_id: str) -> bool:
    """Of a model or of a cross-region profile of it (`eu.` …)."""
    return any(family in model_id for family in CACHING_MODELS)
