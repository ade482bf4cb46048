"""What OpenAI-compatible servers send, the less well-behaved ones too."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import httpx
import pytest

from commons.schemas.event import Usage
from workers_agent.model import (
    Chunk,
    EndChunk,
    ModelFailedError,
    Prompt,
    TextChunk,
    ToolCallChunk,
    Turn,
    UsageChunk,
)
from workers_agent.providers import openai
from workers_agent.providers.openai import OpenAiModel

PROMPT = Prompt(
    model_id="m",
    instructions="Be brief.",
    turns=[Turn("user", "One"), Turn("agent", "Two"), Turn("user", "Three")],
    max_tokens=9,
    temperature=0.5,
)
DONE = "data: [DONE]\n\n"


def said(content: str | None, *, finish: str | None = None, **more: object) -> str:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice], **more}, ensure_ascii=False)}\n\n"


class Server:
    """Answers each request with the next of its answers, the last for ever."""

    def __init__(self, *answers: Callable[[], httpx.Response]) -> None:
        self._answers = answers
        self.bodies: list[dict[str, object]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(request.content))
        return self._answers[min(len(self.bodies), len(self._answers)) - 1]()

    def model(self, base_url: str = "http://model/v1") -> OpenAiModel:
        return OpenAiModel(base_url, idle_seconds=1, transport=httpx.MockTransport(self))

    def ask(self, model: OpenAiModel | None = None) -> list[Chunk]:
        asked = model or self.model()

        async def collect() -> list[Chunk]:
            return [chunk async for chunk in asked.stream(PROMPT)]

        return asyncio.run(collect())


def stream(*lines: str) -> Callable[[], httpx.Response]:
    body = "".join(lines).encode()
    headers = {"content-type": "text/event-stream"}
    return lambda: httpx.Response(200, headers=headers, content=body)


def refusal(status: int, body: object = None, **headers: str) -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(status, headers=headers, json=body or {})


def text_of(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def end_of(chunks: Sequence[Chunk]) -> EndChunk:
    (end,) = [chunk for chunk in chunks if isinstance(chunk, EndChunk)]
    assert chunks[-1] is end
    return end


def test_usage_in_every_chunk_is_the_last_figure_and_no_sum() -> None:
    counted = [{"prompt_tokens": 11, "completion_tokens": count} for count in (1, 2, 3, 3)]
    answer = stream(
        said("one ", usage=counted[0]),
        said("two ", usage=counted[1]),
        said("three", usage=counted[2]),
        said(None, finish="stop", usage=counted[3]),
        DONE,
    )

    chunks = Server(answer).ask()

    assert text_of(chunks) == "one two three"
    assert end_of(chunks).usage == Usage(model_id="m", input_tokens=11, output_tokens=3)


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("stop", "stop"),
        ("end_turn", "stop"),
        ("eos_token", "stop"),
        ("STOP", "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("content_filter", "filtered"),
    ],
)
def test_any_reason_is_an_end(word: str, finish: str) -> None:
    server = Server(stream(said("done"), said(None, finish=word), DONE))

    chunks = server.ask()

    assert (text_of(chunks), end_of(chunks).finish) == ("done", finish)
    assert len(server.bodies) == 1


def test_the_end_mark_alone_is_an_end() -> None:
    chunks = Server(stream(said("done"), said(None), DONE)).ask()

    assert (text_of(chunks), end_of(chunks).finish) == ("done", "stop")


def test_a_reason_without_the_end_mark_is_an_end() -> None:
    chunks = Server(stream(said("done", finish="stop"))).ask()

    assert text_of(chunks) == "done"


def test_a_stream_without_either_broke_off() -> None:
    with pytest.raises(ModelFailedError) as raised:
        Server(stream(said("do"))).ask()

    assert (raised.value.reason, raised.value.retryable) == ("model_error", True)
    assert not raised.value.refused


@pytest.mark.parametrize(
    "pieces",
    [
        ["<think>secret</think>Hello"],
        ["<thi", "nk>sec", "ret</th", "ink>Hello"],
        list("<think>secret</think>\n\nHello"),
        ["<think>secret", "</think>", "\n", "Hello"],
    ],
)
def test_thoughts_never_show(pieces: list[str]) -> None:
    chunks = Server(stream(*map(said, pieces), said(None, finish="stop"), DONE)).ask()

    assert text_of(chunks) == "Hello"
    assert not any("secret" in chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


@pytest.mark.parametrize("text", ["a < b", "<thin ice>", "<b>bold</b> <thi"])
def test_what_only_looks_like_the_beginning_of_a_thought_shows(text: str) -> None:
    chunks = Server(stream(*map(said, text), said(None, finish="stop"), DONE)).ask()

    assert text_of(chunks) == text


@pytest.mark.parametrize(
    "noise", ["data: : keepalive\n\n", ": ping\n\n", "data: \n\n", "event: x\n"]
)
def test_what_keeps_a_connection_alive_is_no_error(noise: str) -> None:
    chunks = Server(stream(said("a "), noise, said("b"), said(None, finish="stop"), DONE)).ask()

    assert text_of(chunks) == "a b"


def test_a_line_separator_in_a_text_ends_no_line() -> None:
    chunks = Server(stream(said("a\u2028b\x85c"), said(None, finish="stop"), DONE)).ask()

    assert text_of(chunks) == "a\u2028b\x85c"


def test_an_answer_that_was_not_streamed_is_an_answer() -> None:
    choice = {"message": {"content": "<think>hm</think>Hi"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    whole = lambda: httpx.Response(200, json={"choices": [choice], "usage": usage})  # noqa: E731

    chunks = Server(whole).ask()

    assert text_of(chunks) == "Hi"
    assert end_of(chunks).usage == Usage(model_id="m", input_tokens=3, output_tokens=1)


def test_text_in_parts_is_text() -> None:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}]
    body = {"choices": [{"delta": {"content": parts}, "finish_reason": "stop"}]}

    chunks = Server(stream(f"data: {json.dumps(body)}\n\n", DONE)).ask()

    assert text_of(chunks) == "Hi"


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("body", [{"detail": "extra field stream_options"}, {"detail": "no"}])
def test_a_server_that_refuses_stream_options_is_asked_without_them(
    status: int, body: object
) -> None:
    answer = stream(said("Hi", finish="stop"), DONE)
    server = Server(refusal(status, body), answer)
    model = server.model()

    first = server.ask(model)
    second = server.ask(model)

    assert text_of(first) == text_of(second) == "Hi"
    assert ["stream_options" in body for body in server.bodies] == [True, False, False]


def test_a_server_that_took_the_options_before_is_not_asked_again() -> None:
    server = Server(stream(said("Hi", finish="stop"), DONE), refusal(400, {"error": "no"}))
    model = server.model()
    server.ask(model)

    with pytest.raises(ModelFailedError) as raised:
        server.ask(model)

    assert (raised.value.retryable, raised.value.refused) == (False, True)
    assert len(server.bodies) == 2


def test_the_newer_name_of_max_tokens_is_learned() -> None:
    wrong = {"error": {"message": "'max_tokens' is not supported, use 'max_completion_tokens'."}}
    server = Server(refusal(400, wrong), stream(said("Hi", finish="stop"), DONE))

    server.ask()

    assert [body.get("max_tokens") for body in server.bodies] == [9, None]
    assert server.bodies[1]["max_completion_tokens"] == 9


def test_openai_itself_is_asked_by_the_newer_name() -> None:
    server = Server(stream(said("Hi", finish="stop"), DONE))

    server.ask(server.model("https://api.openai.com/v1"))

    assert server.bodies[0]["max_completion_tokens"] == 9
    assert "max_tokens" not in server.bodies[0]


def test_instructions_and_turns_keep_their_roles() -> None:
    server = Server(stream(said("Hi", finish="stop"), DONE))

    server.ask()

    assert server.bodies[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": "Three"},
    ]
    assert server.bodies[0]["temperature"] == 0.5


@pytest.mark.parametrize(
    ("status", "body", "reason", "retryable"),
    [
        (429, {"error": {"code": "rate_limit_exceeded"}}, "throttled", True),
        (429, {"error": {"code": "insufficient_quota"}}, "throttled", False),
        (529, {}, "throttled", True),
        (408, {}, "timeout", True),
        (500, {}, "model_error", True),
        (503, {}, "model_error", True),
        (401, {}, "model_error", False),
        (404, {"error": "model not found"}, "model_error", False),
        (302, {}, "model_error", False),
    ],
)
def test_each_refusal_has_its_reason(
    status: int, body: object, reason: str, retryable: bool
) -> None:
    with pytest.raises(ModelFailedError) as raised:
        Server(refusal(status, body)).ask()

    failure = raised.value
    assert (failure.reason, failure.retryable, failure.refused) == (reason, retryable, True)


def test_a_server_says_how_long_to_wait() -> None:
    with pytest.raises(ModelFailedError) as raised:
        Server(refusal(429, {}, **{"retry-after": "3"})).ask()

    assert raised.value.retry_after == 3.0


def test_an_error_in_the_stream_is_a_failure() -> None:
    wrong = f"data: {json.dumps({'error': {'code': 'rate_limit_exceeded', 'message': 'x'}})}\n\n"

    with pytest.raises(ModelFailedError) as raised:
        Server(stream(said("a"), wrong)).ask()

    assert (raised.value.reason, raised.value.refused) == ("throttled", False)


def test_an_error_after_the_end_throws_no_answer_away() -> None:
    wrong = f"data: {json.dumps({'error': 'x'})}\n\n"

    chunks = Server(stream(said("a", finish="stop"), wrong)).ask()

    assert text_of(chunks) == "a"


def test_a_server_that_is_not_there_has_refused() -> None:
    def nobody() -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ModelFailedError) as raised:
        Server(nobody).ask()

    assert (raised.value.retryable, raised.value.refused) == (True, True)


def test_an_end_mark_that_never_comes_throws_no_answer_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield said("a", finish="stop").encode()
        await asyncio.sleep(60)

    monkeypatch.setattr(openai, "ENVELOPE_SECONDS", 0.01)
    headers = {"content-type": "text/event-stream"}

    chunks = Server(lambda: httpx.Response(200, headers=headers, content=body())).ask()

    assert text_of(chunks) == "a"


def test_what_keeps_a_finished_stream_alive_throws_no_answer_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield said("a", finish="stop").encode()
        for _ in range(1_000):
            await asyncio.sleep(0.01)
            yield b"data: keepalive\n\n"
        raise AssertionError("nobody waits so long for an end mark")

    monkeypatch.setattr(openai, "ENVELOPE_SECONDS", 0.05)
    headers = {"content-type": "text/event-stream"}

    chunks = Server(lambda: httpx.Response(200, headers=headers, content=body())).ask()

    assert text_of(chunks) == "a"


def test_an_empty_reason_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield said("one ", finish="").encode()
        await asyncio.sleep(0.1)
        yield (said("two", finish="") + said(None, finish="length") + DONE).encode()

    monkeypatch.setattr(openai, "ENVELOPE_SECONDS", 0.01)
    headers = {"content-type": "text/event-stream"}

    chunks = Server(lambda: httpx.Response(200, headers=headers, content=body())).ask()

    assert (text_of(chunks), end_of(chunks).finish) == ("one two", "length")


@pytest.mark.parametrize(
    "odd",
    [
        {"usage": "none"},
        {"usage": []},
        {"usage": {"prompt_tokens": 1.5, "completion_tokens": "many"}},
        {"usage": {"prompt_tokens": 10**400, "completion_tokens": 1}},
        {"error": False},
        {"error": {}},
        {"error": ""},
    ],
)
def test_an_odd_envelope_takes_no_text_along(odd: dict[str, object]) -> None:
    chunk = {"choices": [{"delta": {"content": "a "}}], **odd}
    first = f"data: {json.dumps(chunk)}\n\n"

    chunks = Server(stream(first, said("b"), said(None, finish="stop"), DONE)).ask()

    assert text_of(chunks) == "a b"


def test_a_reason_of_another_type_is_an_end() -> None:
    chunk = {"choices": [{"delta": {"content": "a", "tool_calls": [{}]}, "finish_reason": 1}]}

    chunks = Server(stream(f"data: {json.dumps(chunk)}\n\n")).ask()

    assert (text_of(chunks), end_of(chunks).finish) == ("a", "stop")


def test_a_server_that_refuses_whatever_is_left_out_is_given_up() -> None:
    both = {"message": "'max_tokens' or 'max_completion_tokens' is too large: 9. stream_options."}
    server = Server(*[refusal(400, both)] * 50, stream(said("Hi", finish="stop"), DONE))

    with pytest.raises(ModelFailedError) as raised:
        server.ask()

    assert (raised.value.retryable, raised.value.refused) == (False, True)
    assert len(server.bodies) <= 5


def test_an_option_is_sent_again_where_leaving_it_out_did_not_help() -> None:
    too_long = refusal(400, {"error": {"code": "context_length_exceeded"}})
    server = Server(too_long, too_long, stream(said("Hi", finish="stop"), DONE))
    model = server.model()
    with pytest.raises(ModelFailedError):
        server.ask(model)

    assert text_of(server.ask(model)) == "Hi"
    assert "stream_options" in server.bodies[-1]


def said_to(prompt: Prompt, server: Server, model: OpenAiModel) -> dict[str, object]:
    """What the server was asked last for the prompt."""

    async def collect() -> None:
        async for _ in model.stream(prompt):
            pass

    asyncio.run(collect())
    return server.bodies[-1]


def test_what_is_refused_for_one_model_is_sent_for_another() -> None:
    hi = stream(said("Hi", finish="stop"), DONE)
    server = Server(
        refusal(400, {"error": {"message": "Unsupported parameter: 'max_tokens'."}}),
        refusal(
            400, {"error": {"message": "Unsupported value: 'temperature' does not support 0.5"}}
        ),
        hi,
    )
    model = server.model()

    strict = said_to(replace(PROMPT, model_id="strict"), server, model)
    other = said_to(PROMPT, server, model)

    assert "temperature" not in strict
    assert (strict.get("max_tokens"), strict["max_completion_tokens"]) == (None, 9)
    assert (other["max_tokens"], other["temperature"]) == (9, 0.5)


def test_a_limit_whose_value_is_refused_is_never_left_out() -> None:
    wrong = {"error": {"message": "Invalid max_tokens value, the valid range is [1, 8]"}}
    hi = stream(said("Hi", finish="stop"), DONE)
    server = Server(hi, refusal(400, wrong), hi)
    model = server.model()
    server.ask(model)

    with pytest.raises(ModelFailedError) as raised:
        server.ask(model)
    server.ask(model)

    assert (raised.value.reason, raised.value.refused) == ("model_error", True)
    assert [body["max_tokens"] for body in server.bodies] == [9, 9, 9]


def test_a_value_that_is_refused_is_left_out_of_that_request_alone() -> None:
    wrong = {"error": {"message": "temperature must be between 0 and 0.3"}}
    hi = stream(said("Hi", finish="stop"), DONE)
    server = Server(refusal(400, wrong), hi)
    model = server.model()

    server.ask(model)
    server.ask(model)

    assert ["temperature" in body for body in server.bodies] == [True, False, True]


def test_one_call_that_cannot_be_read_takes_no_other_along() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "clock", "arguments": "{}"}}
    body = {"choices": [{"delta": {"tool_calls": [5, call]}, "finish_reason": "tool_calls"}]}

    chunks = Server(stream(f"data: {json.dumps(body)}\n\n", DONE)).ask()

    assert [chunk.name for chunk in chunks if isinstance(chunk, ToolCallChunk)] == ["clock"]


def test_figures_are_told_as_they_come() -> None:
    usage = {"prompt_tokens": 5_000, "completion_tokens": 900}
    chunks: list[Chunk] = []

    async def collect() -> None:
        async for chunk in Server(stream(said("do", usage=usage))).model().stream(PROMPT):
            chunks.append(chunk)  # noqa: PERF401 - those before the failure count

    with pytest.raises(ModelFailedError):
        asyncio.run(collect())

    counted = Usage(model_id="m", input_tokens=5_000, output_tokens=900)
    assert chunks == [TextChunk("do"), UsageChunk(counted)]


def test_a_figure_that_is_not_named_again_stays() -> None:
    first, last = {"prompt_tokens": 50, "completion_tokens": 700}, {"prompt_tokens": 50}
    answer = stream(said("a", usage=first), said(None, finish="stop", usage=last), DONE)

    counted = Usage(model_id="m", input_tokens=50, output_tokens=700)
    assert end_of(Server(answer).ask()).usage == counted


@pytest.mark.parametrize("cut", [lambda text: [text], list])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Wrap it in `<think>` and `</think>` tags.", "Wrap it in `<think>` and `</think>` tags."),
        ('It says "<think>" there.', 'It says "<think>" there.'),
        ("Yes. <think>secret</think>No.", "Yes. No."),
        ("Yes. <think>secret", "Yes. "),
        ("<think>secret", ""),
        (" \n<think>secret</think>\nHi", " \nHi"),
    ],
)
@pytest.mark.parametrize("finish", ["stop", "length", "tool_calls", "abort", None])
def test_a_thought_is_one_to_its_end_and_what_speaks_of_one_is_text(
    text: str, shown: str, cut: Callable[[str], list[str]], finish: str | None
) -> None:
    chunks = Server(stream(*map(said, cut(text)), said(None, finish=finish), DONE)).ask()

    assert text_of(chunks) == shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"error": {"message": "max_tokens 4096 is not supported, the maximum is 2048"}},
        {
            "detail": [
                {
                    "loc": ["body", "max_tokens"],
                    "msg": "ensure this value is less than 2048",
                    "input": {"messages": [{"content": "What extra cost is unexpected?"}]},
                }
            ]
        },
        "max_tokens is too large: 9. Unsupported value",
    ],
)
def test_a_bound_is_no_unknown_name(wrong: object) -> None:
    server = Server(*[refusal(400, wrong)] * 2, stream(said("Hi", finish="stop"), DONE))
    model = server.model()

    with pytest.raises(ModelFailedError):
        server.ask(model)
    server.ask(model)

    assert [body.get("max_tokens") for body in server.bodies] == [9, 9, 9]


@pytest.mark.parametrize(
    "wrong",
    [
        {"error": {"message": "Invalid parameter: max_tokens"}},
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "No."}]},
        {"message": "Additional properties are not allowed ('max_tokens' was unexpected)"},
    ],
)
def test_an_unknown_name_of_the_limit_is_learned_however_it_is_said(wrong: object) -> None:
    server = Server(refusal(422, wrong), stream(said("Hi", finish="stop"), DONE))

    server.ask()

    assert server.bodies[-1]["max_completion_tokens"] == 9
