"""What Bedrock is asked, and what its refusals mean; its stream is tested over the demo model."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from workers_agent.model import (
    AnsweredCall,
    Chunk,
    EndChunk,
    ModelFailedError,
    Prompt,
    SilentChunk,
    Step,
    TextChunk,
    ToolCallChunk,
    ToolSpec,
    Turn,
)
from workers_agent.providers.bedrock import BedrockModel

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


class Events:
    def __init__(self, events: Sequence[object]) -> None:
        self._events = events

    def __iter__(self) -> Iterator[object]:
        for event in self._events:
            if isinstance(event, Exception):
                raise event
            yield event

    def close(self) -> None:
        pass


class Unclosable(Events):
    """As though its two closers had got in each other's way."""

    def close(self) -> None:
        raise AttributeError("close")


class Client:
    """Answers every request with the same events."""

    def __init__(
        self,
        *events: object,
        error: Exception | None = None,
        stream: Callable[[Sequence[object]], Events] = Events,
    ) -> None:
        self._events = events
        self._error = error
        self._stream = stream
        self.requests: list[dict[str, object]] = []

    def converse_stream(self, **request: object) -> dict[str, object]:
        self.requests.append(request)
        if self._error is not None:
            raise self._error
        return {"stream": self._stream(self._events)}


SAYS_HI = (
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hi"}}},
    {"messageStop": {"stopReason": "end_turn"}},
    {
        "metadata": {
            "usage": {"inputTokens": 3, "outputTokens": 1, "cacheReadInputTokens": 40},
            "metrics": {"latencyMs": 1},
        }
    },
)


def prompt(model_id: str) -> Prompt:
    turns = [Turn("user", "One"), Turn("agent", "Two"), Turn("user", "Three")]
    return Prompt(model_id=model_id, instructions="Be brief.", turns=turns, max_tokens=9)


def ask(client: Client, model_id: str = "m", asked: Prompt | None = None) -> list[Chunk]:
    model = BedrockModel(cast("BedrockRuntimeClient", client))

    async def collect() -> list[Chunk]:
        return [chunk async for chunk in model.stream(asked or prompt(model_id))]

    return asyncio.run(collect())


def test_text_shows_and_reasoning_does_not() -> None:
    chunks = ask(Client(*SAYS_HI))

    assert [chunk for chunk in chunks if isinstance(chunk, TextChunk)] == [TextChunk("Hi")]


def test_a_stream_that_cannot_be_closed_throws_no_answer_away() -> None:
    chunks = ask(Client(*SAYS_HI, stream=Unclosable))

    assert isinstance(chunks[-1], EndChunk)


def test_what_was_read_from_the_cache_is_input() -> None:
    end = ask(Client(*SAYS_HI))[-1]

    assert isinstance(end, EndChunk)
    assert end.usage is not None
    assert (end.usage.input_tokens, end.usage.output_tokens) == (43, 1)


@pytest.mark.parametrize(
    "model_id", ["eu.amazon.nova-lite-v1:0", "anthropic.claude-sonnet-4-20250514-v1:0"]
)
def test_a_model_that_caches_gets_cache_points(model_id: str) -> None:
    client = Client(*SAYS_HI)

    ask(client, model_id)

    (request,) = client.requests
    point = {"cachePoint": {"type": "default"}}
    assert request["system"] == [{"text": "Be brief."}, point]
    assert request["messages"] == [
        {"role": "user", "content": [{"text": "One"}, point]},
        {"role": "assistant", "content": [{"text": "Two"}]},
        {"role": "user", "content": [{"text": "Three"}, point]},
    ]


def test_a_model_that_does_not_cache_gets_none() -> None:
    client = Client(*SAYS_HI)

    ask(client, "meta.llama3-8b-instruct-v1:0")

    assert "cachePoint" not in repr(client.requests)


def _refusal(code: str, status: int) -> ClientError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "2"}}
    return ClientError(
        {"Error": {"Code": code, "Message": "x"}, "ResponseMetadata": metadata},  # type: ignore[typeddict-item]  # the rest is not read
        "ConverseStream",
    )


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        (_refusal("ThrottlingException", 429), "throttled", True),
        (_refusal("ServiceQuotaExceededException", 400), "throttled", True),
        (_refusal("ModelTimeoutException", 408), "timeout", True),
        (_refusal("ModelNotReadyException", 429), "model_error", True),
        (_refusal("InternalServerException", 500), "model_error", True),
        (_refusal("ValidationException", 400), "model_error", False),
        (_refusal("AccessDeniedException", 403), "model_error", False),
        (EndpointConnectionError(endpoint_url="x"), "model_error", True),
        (NoCredentialsError(), "model_error", False),
    ],
)
def test_each_refusal_has_its_reason_and_costs_nothing(
    error: Exception, reason: str, retryable: bool
) -> None:
    with pytest.raises(ModelFailedError) as raised:
        ask(Client(error=error))

    failure = raised.value
    assert (failure.reason, failure.retryable, failure.refused) == (reason, retryable, True)
    if isinstance(error, ClientError):
        assert failure.retry_after == 2.0


def test_figures_that_never_come_throw_no_answer_away() -> None:
    end = ask(Client(*SAYS_HI[:-1]))[-1]

    assert end == EndChunk("stop")


def test_a_stream_without_a_reason_broke_off() -> None:
    with pytest.raises(ModelFailedError) as raised:
        ask(Client(*SAYS_HI[:2]))

    assert (raised.value.retryable, raised.value.refused) == (True, False)


def test_a_stream_that_turns_to_garbage_is_asked_again() -> None:
    with pytest.raises(ModelFailedError) as raised:
        ask(Client(*SAYS_HI[:2], ChecksumMismatch(1, 2)))

    assert (raised.value.retryable, raised.value.refused) == (True, False)


def test_garbage_after_the_end_throws_no_answer_away() -> None:
    end = ask(Client(*SAYS_HI[:-1], ChecksumMismatch(1, 2)))[-1]

    assert end == EndChunk("stop")


SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
POINT = {"cachePoint": {"type": "default"}}


def with_tools(model_id: str = "m", *, steps: Sequence[Step] = (), may_call: bool = True) -> Prompt:
    tools = [
        ToolSpec(name="notes_add", description="Adds a note.", input_schema=SCHEMA),
        ToolSpec(name="clock_now", description="", input_schema={"type": "object"}),
    ]
    return replace(prompt(model_id), tools=tools, steps=steps, may_call=may_call)


def tool_use(block: int, use_id: str, *pieces: str) -> list[dict[str, object]]:
    start = {"toolUse": {"toolUseId": use_id, "name": "notes_add"}}
    deltas: list[dict[str, object]] = [
        {"contentBlockDelta": {"contentBlockIndex": block, "delta": {"toolUse": {"input": piece}}}}
        for piece in pieces
    ]
    opened: dict[str, object] = {"contentBlockStart": {"contentBlockIndex": block, "start": start}}
    return [opened, *deltas, {"contentBlockStop": {"contentBlockIndex": block}}]


def stopped(reason: str) -> dict[str, object]:
    return {"messageStop": {"stopReason": reason}}


def test_calls_are_put_together_from_their_pieces() -> None:
    text = {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "I note that."}}}
    client = Client(
        text,
        *tool_use(1, "a", '{"te', 'xt": "x"}'),
        *tool_use(2, "b"),
        stopped("tool_use"),
        SAYS_HI[-1],
    )

    *_, spoken, first, second, end = [
        chunk for chunk in ask(client) if not isinstance(chunk, SilentChunk)
    ]

    assert spoken == TextChunk("I note that.")
    assert first == ToolCallChunk("a", "notes_add", '{"text": "x"}')
    assert second == ToolCallChunk("b", "notes_add", "")
    assert isinstance(end, EndChunk)
    assert (end.finish, end.usage is not None) == ("tool_calls", True)


def test_calls_of_an_answer_that_was_cut_short_are_none() -> None:
    chunks = ask(Client(*tool_use(0, "a", '{"te'), stopped("max_tokens"), SAYS_HI[-1]))

    assert not any(isinstance(chunk, ToolCallChunk) for chunk in chunks)
    assert isinstance(chunks[-1], EndChunk)
    assert chunks[-1].finish == "length"


def test_a_malformed_call_is_asked_for_again() -> None:
    with pytest.raises(ModelFailedError) as raised:
        ask(Client(*tool_use(0, "a", "{"), stopped("malformed_tool_use")))

    assert raised.value.retryable


def test_tools_are_offered_with_their_schemas() -> None:
    client = Client(*SAYS_HI)

    ask(client, asked=with_tools())

    (request,) = client.requests
    assert request["toolConfig"] == {
        "tools": [
            {
                "toolSpec": {
                    "name": "notes_add",
                    "description": "Adds a note.",
                    "inputSchema": {"json": SCHEMA},
                }
            },
            {"toolSpec": {"name": "clock_now", "inputSchema": {"json": {"type": "object"}}}},
        ]
    }


def test_a_prompt_without_tools_has_no_tool_configuration() -> None:
    client = Client(*SAYS_HI)

    ask(client)

    assert "toolConfig" not in client.requests[0]


STEPS = [
    Step(
        "I note that.",
        [AnsweredCall(call_id="a", name="notes_add", arguments='{"text": "x"}', result="done")],
    ),
    Step(
        " ",
        [
            AnsweredCall(
                call_id="functions.notes:1",
                name="notes_add",
                arguments="{}",
                result="",
                is_error=True,
            )
        ],
    ),
]


def test_steps_follow_the_conversation_and_results_stand_in_slots_of_their_own() -> None:
    client = Client(*SAYS_HI)

    ask(client, asked=with_tools(steps=STEPS))

    messages = client.requests[0]["messages"]
    assert isinstance(messages, list)
    assert messages[3:] == [
        {
            "role": "assistant",
            "content": [
                {"text": "I note that."},
                {"toolUse": {"toolUseId": "a", "name": "notes_add", "input": {"text": "x"}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "toolResult": {
                        "toolUseId": "a",
                        "content": [{"text": "done"}],
                        "status": "success",
                    }
                }
            ],
        },
        {
            "role": "assistant",
            "content": [{"toolUse": {"toolUseId": "call-0", "name": "notes_add", "input": {}}}],
        },
        {
            "role": "user",
            "content": [
                {
                    "toolResult": {
                        "toolUseId": "call-0",
                        "content": [{"text": "(no output)"}],
                        "status": "error",
                    }
                }
            ],
        },
    ]


def test_who_may_call_no_more_is_told_so_after_the_results() -> None:
    client = Client(*SAYS_HI)

    ask(client, asked=with_tools(steps=STEPS, may_call=False))

    messages = client.requests[0]["messages"]
    assert isinstance(messages, list)
    assert [list(block) for block in messages[-1]["content"]] == [["toolResult"], ["text"]]
    assert client.requests[0]["toolConfig"]


@pytest.mark.parametrize(
    ("model_id", "points"),
    [
        ("anthropic.claude-sonnet-4-20250514-v1:0", 4),
        ("eu.amazon.nova-lite-v1:0", 3),
        ("meta.llama3-8b-instruct-v1:0", 0),
    ],
)
def test_cache_points_stand_where_the_model_takes_them_and_are_four_at_most(
    model_id: str, points: int
) -> None:
    client = Client(*SAYS_HI)

    ask(client, asked=with_tools(model_id, steps=STEPS))

    (request,) = client.requests
    assert repr(request).count("cachePoint") == points
    messages = request["messages"]
    assert isinstance(messages, list)
    assert (POINT in messages[-1]["content"]) == (points > 0)
    assert (POINT in cast("dict[str, list[object]]", request["toolConfig"])["tools"]) == (
        points == 4
    )
