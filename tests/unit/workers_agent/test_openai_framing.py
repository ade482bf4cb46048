"""How OpenAI-compatible servers frame an answer: no frame throws a bought answer away."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

from workers_agent.model import ModelFailedError, Prompt, SilentChunk, TextChunk, Turn
from workers_agent.providers import server_sent
from workers_agent.providers.openai import OpenAiModel

PROMPT = Prompt(model_id="m", instructions="", turns=[Turn("user", "One")], max_tokens=9)
SSE = "text/event-stream"


def chunk(text: str, finish: str | None = None) -> str:
    return json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": finish}]})


WHOLE = json.dumps(
    {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}, indent=2
)
STREAM = f"data: {chunk('<think>secret</think>Hel')}\n\ndata: {chunk('lo', 'stop')}\n\n"
END = "data: [DONE]\n\n"


class Body(httpx.AsyncByteStream):
    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces():
            yield piece


def answer(pieces: Callable[[], Iterator[bytes]], kind: str | None = SSE) -> list[str]:
    """The texts of what is shown, and "" for each sign of life."""
    headers = {} if kind is None else {"content-type": kind}

    def respond(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=headers, stream=Body(pieces))

    async def collect() -> list[str]:
        model = OpenAiModel("http://m", idle_seconds=1, transport=httpx.MockTransport(respond))
        shown = []
        async for each in model.stream(PROMPT):
            if isinstance(each, TextChunk):
                shown.append(each.text)
            elif isinstance(each, SilentChunk):
                shown.append("")
        return shown

    return asyncio.run(collect())


def at_once(body: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter([body])


def by_bytes(body: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: (bytes([each]) for each in body)


@pytest.mark.parametrize("cut", [at_once, by_bytes])
@pytest.mark.parametrize(
    "body",
    [
        STREAM + END,
        "\ufeff" + STREAM + END,
        (STREAM + END).replace("\n\n", "\n"),
        (STREAM + END).replace("\n", "\r\n"),
        (STREAM + END).replace("\n", "\r"),
        STREAM + 'data: "[DONE]"\n\n',
        STREAM.rstrip("\n"),
        STREAM.replace("data: ", "data:"),
        STREAM.replace("data: {", 'event: chunk\nid: 7\ndata: {\ndata: "x": 1, '),
        STREAM.replace("data: ", "data: keep-alive\ndata: "),
        STREAM.replace("data: ", "").replace("\n\n", "\n"),
        WHOLE,
        WHOLE.replace("\n", ""),
        "\n\n" + WHOLE,
        WHOLE.replace('"choices"', '"annotations": [\n{}\n],\n"choices"'),
    ],
    ids=[
        "as it should be",
        "byte order mark",
        "one newline",
        "CR LF",
        "CR",
        "end mark as JSON",
        "no end mark",
        "no blank after the colon",
        "several data lines",
        "noise in the same event",
        "a JSON text a line",
        "not streamed",
        "not streamed, one line",
        "not streamed, blank lines first",
        "not streamed, objects in lines of their own",
    ],
)
@pytest.mark.parametrize("kind", [SSE, "application/json", "text/plain", "Application/JSON", None])
def test_the_text_is_the_same_however_it_is_framed(
    body: str, kind: str | None, cut: Callable[[bytes], Callable[[], Iterator[bytes]]]
) -> None:
    shown = answer(cut(body.encode()), kind)

    assert "".join(shown) == "Hello"
    assert not any("secret" in each for each in shown)


def test_a_comment_is_a_sign_of_life() -> None:
    body = f": PROCESSING\n\n: PROCESSING\n\n{STREAM}{END}"

    assert answer(at_once(body.encode()))[:2] == ["", ""]


@pytest.mark.parametrize("body", [chunk("Half of "), '{"detail": "loading"}', "[]", ""])
def test_what_is_no_whole_answer_broke_off(body: str) -> None:
    with pytest.raises(ModelFailedError) as raised:
        answer(at_once(body.encode()), "application/json")

    assert (raised.value.reason, raised.value.retryable) == ("model_error", True)


def test_halves_of_a_character_are_text() -> None:
    pieces = ["Good ", "morning \ud83d", "\ude00 to all"]
    body = "".join(f"data: {chunk(piece)}\n\n" for piece in pieces) + END

    assert "".join(answer(at_once(body.encode()))) == "Good morning \ud83d\ude00 to all"


def test_raw_control_characters_are_text() -> None:
    body = f"data: {chunk('a@b', 'stop')}\n\n{END}".replace("@", "\t")

    assert answer(at_once(body.encode())) == ["a\tb"]


@pytest.mark.parametrize(
    "content",
    [["Hi"], {"text": "Hi"}, [{"type": None, "text": "Hi"}], [{"type": 7}, {"text": "Hi"}, 5]],
)
def test_parts_are_text_whatever_they_look_like(content: object) -> None:
    body = {"choices": [{"delta": {"content": content}, "finish_reason": "stop"}]}

    assert answer(at_once(f"data: {json.dumps(body)}\n\n".encode())) == ["Hi"]


@pytest.mark.parametrize("line", ["data: " + "x" * 50, "data: x\n" * 20])
def test_a_line_and_an_event_without_an_end_are_given_up(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_sent, "MAX_BYTES", 16)

    with pytest.raises(ModelFailedError) as raised:
        answer(at_once(line.encode()))

    assert (raised.value.reason, raised.value.retryable) == ("model_error", True)


def test_a_long_line_in_small_pieces_is_read_in_a_time_that_grows_with_it() -> None:
    text = "x" * 300_000
    body = f"data: {chunk(text, 'stop')}\n\n{END}".encode()

    # By the square it would be 45 thousand million bytes to copy.
    assert answer(by_bytes(body)) == [text]
