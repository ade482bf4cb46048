"""What is said about a model server of one's own before anything is built for it."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from devstack.config import LocalStackConfig
from devstack.errors import DevstackError
from devstack.model_probe import ModelProbe, check_settings

URL = "http://127.0.0.1:11434/v1"
KEY = "sk-very-secret"

type Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHAT_MODEL_URL", "CHAT_MODEL", "CHAT_MODEL_KEY"):
        monkeypatch.delenv(name, raising=False)


def config(
    url: str | None = URL, model: str | None = "llama3.2", key: str | None = None
) -> LocalStackConfig:
    return LocalStackConfig(
        local_dir=Path("unused"),
        model_url=url,
        model=model,
        model_key=SecretStr(key) if key is not None else None,
    )


class Server:
    """An OpenAI-compatible server with one model, which may want a key."""

    def __init__(self, *models: str, key: str | None = None, prefix: str = "/v1") -> None:
        self._models = models
        self._key = key
        self._prefix = prefix
        self.questions: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == f"{self._prefix}/models":
            return httpx.Response(200, json={"data": [{"id": name} for name in self._models]})
        if request.url.path != f"{self._prefix}/chat/completions":
            return httpx.Response(404)
        self.questions.append(request)
        if self._key and request.headers.get("Authorization") != f"Bearer {self._key}":
            return httpx.Response(401, json={"error": {"message": f"wrong key, not {self._key}"}})
        if json.loads(request.content)["model"] not in self._models:
            return httpx.Response(404, json={"error": {"message": "no such model"}})
        return httpx.Response(200, json={"choices": []})


def ask(config: LocalStackConfig, answer: Answer) -> str | None:
    return ModelProbe(config, httpx.MockTransport(answer)).ask()


def refusal(config: LocalStackConfig, answer: Answer) -> str:
    with pytest.raises(DevstackError) as raised:
        ask(config, answer)
    assert KEY not in raised.value.explain()
    return raised.value.message


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (config("127.0.0.1:11434/v1"), "CHAT_MODEL_URL is a whole URL"),
        (config("localhost"), "CHAT_MODEL_URL is a whole URL"),
        (config("http://key@127.0.0.1/v1"), "CHAT_MODEL_KEY"),
        (config(None), "CHAT_MODEL needs CHAT_MODEL_URL"),
        (config(None, None, KEY), "CHAT_MODEL_KEY needs CHAT_MODEL_URL"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings: LocalStackConfig, said: str) -> None:
    with pytest.raises(DevstackError, match=said) as raised:
        check_settings(settings)

    assert KEY not in raised.value.message


@pytest.mark.parametrize("settings", [config(), config(None, None), config("https://gw/v1")])
def test_settings_that_make_sense_are_taken(settings: LocalStackConfig) -> None:
    check_settings(settings)


def test_a_server_that_answers_is_asked_once_for_one_token() -> None:
    server = Server("llama3.2", key=KEY)

    assert ask(config(key=KEY), server) is None

    (question,) = server.questions
    assert json.loads(question.content)["max_tokens"] == 1


def test_a_missing_name_is_asked_for_with_those_that_there_are() -> None:
    said = refusal(config(model=None), Server("llama3.2", "mistral"))

    assert said == "CHAT_MODEL_URL needs CHAT_MODEL, a model's name: llama3.2, mistral."


def test_a_wrong_name_is_said_with_those_that_there_are() -> None:
    said = refusal(config(model="llama"), Server(*(f"m{n}" for n in range(10))))

    assert "has no model 'llama'" in said
    assert said.endswith("m6, m7 and 2 more.")


def test_a_missing_key_and_a_wrong_one_are_told_apart() -> None:
    server = Server("llama3.2", key="another")

    assert "asks for a key: set CHAT_MODEL_KEY" in refusal(config(), server)
    assert "refuses the key" in refusal(config(key=KEY), server)


def test_a_url_without_its_end_is_said() -> None:
    assert "often ends in /v1" in refusal(config("http://127.0.0.1:11434"), Server("llama3.2"))


def test_a_dead_port_is_said() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused")

    said = refusal(config(), refuse)

    assert said == f"No model server answers at {URL} (CHAT_MODEL_URL): Connection refused."


def test_a_server_that_is_broken_is_said_by_its_status() -> None:
    said = refusal(config(), lambda _request: httpx.Response(500, text=KEY))

    assert "HTTP 500" in said


def test_a_model_that_takes_long_is_a_note() -> None:
    def hang(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("too late")

    note = ask(config(), hang)

    assert note is not None
    assert "may still be loading" in note
