"""Read by botocore itself: the frames are right if the SDK takes them."""

from contextlib import closing
from typing import TYPE_CHECKING

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from urllib3.exceptions import ProtocolError

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient
    from mypy_boto3_bedrock_runtime.type_defs import ConverseStreamOutputTypeDef


@pytest.fixture(scope="module")
def bedrock(model_url: str) -> "BedrockRuntimeClient":
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=model_url,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=5),
    )


def _converse(
    bedrock: "BedrockRuntimeClient", question: str, *, max_tokens: int = 1_000
) -> "list[ConverseStreamOutputTypeDef]":
    response = bedrock.converse_stream(
        modelId="eu.demo.model-v1:0",
        system=[{"text": "Be brief."}],
        messages=[{"role": "user", "content": [{"text": question}]}],
        inferenceConfig={"maxTokens": max_tokens},
    )
    return list(response["stream"])


def _texts(events: "list[ConverseStreamOutputTypeDef]") -> list[str]:
    return [
        event["contentBlockDelta"]["delta"]["text"]
        for event in events
        if "contentBlockDelta" in event
    ]


def test_it_streams_word_by_word_and_quotes_what_was_asked(
    bedrock: "BedrockRuntimeClient",
) -> None:
    events = _converse(bedrock, "Why is the sky blue?")

    texts = _texts(events)
    assert len(texts) > 10
    assert "scripted" in "".join(texts)
    assert "“Why is the sky blue?”" in "".join(texts)


def test_the_stream_begins_and_ends_as_bedrocks_does(bedrock: "BedrockRuntimeClient") -> None:
    events = _converse(bedrock, "Hello")

    kinds = [next(iter(event)) for event in events]
    assert kinds[0] == "messageStart"
    assert kinds[-3:] == ["contentBlockStop", "messageStop", "metadata"]
    assert events[-2]["messageStop"]["stopReason"] == "end_turn"
    usage = events[-1]["metadata"]["usage"]
    assert usage["inputTokens"] == 3
    assert usage["outputTokens"] == len(_texts(events))


def test_a_line_naming_the_sender_is_not_quoted(bedrock: "BedrockRuntimeClient") -> None:
    events = _converse(bedrock, "\u27e6alice\u27e7\nHi.\n\n\u27e6bob\u27e7\nHow are you?")

    assert "“How are you?”" in "".join(_texts(events))


def test_it_stops_at_max_tokens_and_says_so(bedrock: "BedrockRuntimeClient") -> None:
    events = _converse(bedrock, "Hello", max_tokens=4)

    assert len(_texts(events)) == 4
    assert events[-2]["messageStop"]["stopReason"] == "max_tokens"


def test_converse_answers_at_once(bedrock: "BedrockRuntimeClient") -> None:
    response = bedrock.converse(
        modelId="demo", messages=[{"role": "user", "content": [{"text": "Hello there"}]}]
    )

    assert "“Hello there”" in response["output"]["message"]["content"][0]["text"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
        (400, "ValidationException"),
    ],
)
def test_a_refusal_is_the_exception_bedrock_raises(
    bedrock: "BedrockRuntimeClient", status: int, code: str
) -> None:
    with pytest.raises(ClientError) as raised:
        _converse(bedrock, f"refused [[demo do=error status={status}]]")

    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize(
    ("exception", "code"),
    [
        ("throttlingException", "throttlingException"),
        ("modelStreamErrorException", "modelStreamErrorException"),
        # Of InvokeModel's stream, not in ConverseStream's model: the SDK raises it without a name.
        ("modelTimeoutException", ""),
    ],
)
def test_an_exception_comes_in_the_stream_after_some_words(
    bedrock: "BedrockRuntimeClient", exception: str, code: str
) -> None:
    response = bedrock.converse_stream(
        modelId="demo",
        messages=[
            {
                "role": "user",
                "content": [
                    {"text": f"[[demo do=stream_error exception={exception} after_words=2]]"}
                ],
            }
        ],
    )
    heard: list[ConverseStreamOutputTypeDef] = []

    with closing(response["stream"]) as stream, pytest.raises(EventStreamError) as raised:
        heard.extend(stream)

    assert raised.value.response["Error"]["Code"] == code


def test_a_stream_that_breaks_off_never_says_that_it_ended(
    bedrock: "BedrockRuntimeClient", model_url: str
) -> None:
    response = bedrock.converse_stream(
        modelId="demo",
        messages=[{"role": "user", "content": [{"text": "cut [[demo do=break after_words=2]]"}]}],
    )
    heard: list[ConverseStreamOutputTypeDef] = []

    with closing(response["stream"]) as stream, pytest.raises(ProtocolError):
        heard.extend(stream)

    assert not any("messageStop" in event for event in heard)
    asked = httpx.get(f"{model_url}/requests", params={"match": "cut [[demo"}).json()
    assert asked["requests"][0]["outcome"] == "break"


def test_a_body_that_is_no_request_is_refused(model_url: str) -> None:
    response = httpx.post(f"{model_url}/model/demo/converse-stream", content=b"{}")

    assert response.status_code == 400
    assert response.headers["x-amzn-errortype"] == "ValidationException"
