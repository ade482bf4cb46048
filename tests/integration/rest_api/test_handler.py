"""The function as Lambda calls it: settings from the environment, tables in moto."""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.rest_api.client import proxy_event

from commons.dal import Table
from rest_api import handler

SECRET_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cursor"


class Secrets:
    """Secrets Manager with one secret."""

    def __init__(self) -> None:
        self.calls = 0

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:  # noqa: N803 - boto3's
        assert SecretId == SECRET_ARN
        self.calls += 1
        return {"SecretString": "a secret of the tests"}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Secrets:
    found = Secrets()
    monkeypatch.setattr("commons.secrets.secretsmanager_client", lambda: found)
    return found


@pytest.fixture(autouse=True)
def _deployed(
    table_names: dict[Table, str], secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("WEBSOCKET_CALLBACK_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ALLOWED_MODELS", "model-a,model-b")
    monkeypatch.setenv("CURSOR_SECRET_ARN", SECRET_ARN)
    monkeypatch.setenv("POST_RATE", "0")
    yield
    handler.rest_api.cache_clear()


@pytest.fixture
def context() -> LambdaContext:
    context = LambdaContext()
    context._function_name = "rest_api"
    context._memory_limit_in_mb = 1024
    context._invoked_function_arn = "arn:aws:lambda:eu-west-1:1:function:rest_api"
    context._aws_request_id = "request-1"
    return context


def call(context: LambdaContext, method: str, target: str, body: object = None) -> dict[str, Any]:
    event = proxy_event(
        method,
        target,
        user="alice",
        body=None if body is None else json.dumps(body),
        headers={"content-type": "application/json"},
    )
    answer: dict[str, Any] = handler.lambda_handler(event, context)
    return answer


def test_the_main_job_runs_on_the_deployed_tables(context: LambdaContext) -> None:
    channel = json.loads(call(context, "POST", "/v1/channels", {"name": "n"})["body"])
    path = f"/v1/channels/{channel['channelId']}"

    posted = call(context, "POST", f"{path}/messages", {"text": "hello"})
    listed = json.loads(call(context, "GET", f"{path}/messages")["body"])

    assert posted["statusCode"] == 201
    assert [message["text"] for message in listed["items"]] == ["hello"]


def test_the_secret_of_cursors_is_fetched_at_the_first_cursor_and_kept(
    context: LambdaContext, secrets: Secrets
) -> None:
    for name in "abc":
        call(context, "POST", "/v1/channels", {"name": name})
    assert secrets.calls == 0

    page = json.loads(call(context, "GET", "/v1/channels?limit=1")["body"])
    again = call(context, "GET", f"/v1/channels?limit=1&cursor={page['nextCursor']}")

    assert again["statusCode"] == 200
    assert secrets.calls == 1


def test_the_page_that_tries_the_api_is_served_without_anything_from_elsewhere(
    context: LambdaContext,
) -> None:
    swagger = call(context, "GET", "/swagger")

    assert swagger["statusCode"] == 200
    assert swagger["multiValueHeaders"]["Content-Type"] == ["text/html; charset=utf-8"]
    assert "src='http" not in swagger["body"]
    assert "href='http" not in swagger["body"]
    assert "SwaggerUIBundle" in swagger["body"]
    assert len(swagger["body"].encode()) < 6_000_000


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_the_descriptions_are_served_as_committed(context: LambdaContext, name: str) -> None:
    answer = call(context, "GET", f"/{name}.json")

    committed = files("rest_api").joinpath(f"{name}.json").read_text(encoding="utf-8")
    assert answer["multiValueHeaders"]["Content-Type"] == ["application/json"]
    assert answer["body"] == committed


def test_metrics_are_published_in_the_embedded_format(
    context: LambdaContext, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = json.loads(call(context, "POST", "/v1/channels", {"name": "n"})["body"])
    capsys.readouterr()

    call(context, "POST", f"/v1/channels/{channel['channelId']}/messages", {"text": "t"})

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["MessageAppended"] for line in lines if "MessageAppended" in line] == [[1.0]]
