"""Read by OpenAI's own client: the stream is right if the SDK takes it."""

from collections.abc import Iterator

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionChunk


@pytest.fixture
def client(model_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{model_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def _ask(client: openai.OpenAI, question: str) -> list[ChatCompletionChunk]:
    with client.chat.completions.create(
        model="scripted-demo",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": question},
        ],
        max_tokens=1_000,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        return list(stream)


def _text(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_it_streams_word_by_word_and_quotes_what_was_asked(client: openai.OpenAI) -> None:
    chunks = _ask(client, "Why is the sky blue?")

    assert len(chunks) > 10
    assert "“Why is the sky blue?”" in _text(chunks)


def test_the_stream_ends_with_its_reason_and_the_usage(client: openai.OpenAI) -> None:
    chunks = _ask(client, "Hello")

    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 3


def test_usage_is_left_out_unless_asked_for(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "Hello"}], stream=True
    ) as stream:
        chunks = list(stream)

    assert all(chunk.usage is None for chunk in chunks)


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["scripted-demo"]


def test_without_streaming_the_answer_comes_at_once(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "Hello there"}]
    )

    assert "“Hello there”" in (completion.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (400, openai.BadRequestError),
    ],
)
def test_a_refusal_is_the_error_the_sdk_knows(
    client: openai.OpenAI, status: int, error: type[openai.APIStatusError]
) -> None:
    with pytest.raises(error):
        _ask(client, f"refused [[demo do=error status={status}]]")


def test_an_error_comes_in_the_stream_after_some_words(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError):
        _ask(client, "[[demo do=stream_error exception=throttlingException after_words=2]]")


def test_a_stream_that_breaks_off_is_an_error(client: openai.OpenAI) -> None:
    with pytest.raises((openai.APIConnectionError, httpx.TransportError)):
        _ask(client, "[[demo do=break after_words=2]]")
