"""Asks a model server one short question, before anything is built for it."""

from typing import Final
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from devstack.config import LocalStackConfig
from devstack.errors import DevstackError

SECONDS: Final = 60.0
"""A server of one's own may have to load the model first."""

LISTED: Final = 8
"""Names of a server's models that a sentence holds."""


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


def check_settings(config: LocalStackConfig) -> None:
    """Whether the variables about the model make sense together.

    Raises:
        DevstackError: they do not.
    """
    if config.model_url is None:
        for name, value in (("CHAT_MODEL", config.model), ("CHAT_MODEL_KEY", config.model_key)):
            if value is not None:
                raise DevstackError(
                    f"{name} needs CHAT_MODEL_URL, the base URL of the server that it is about, "
                    "such as http://127.0.0.1:11434/v1."
                )
        return
    parts = urlsplit(config.model_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise DevstackError(
            "CHAT_MODEL_URL is a whole URL, such as http://127.0.0.1:11434/v1; "
            f"it is {config.model_url!r}."
        )
    if parts.username or parts.password or parts.query:
        raise DevstackError(
            "CHAT_MODEL_URL holds neither a user nor a query: a key goes into CHAT_MODEL_KEY."
        )


class ModelProbe:
    """One question to the server of the settings, which `check_settings` has passed.

    Args:
        config: names the server, its model and its key.
        transport: of HTTP; None: the real one.
    """

    def __init__(
        self, config: LocalStackConfig, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._url = (config.model_url or "").rstrip("/")
        self._model = config.model
        self._has_key = config.model_key is not None
        headers = {}
        if config.model_key is not None:
            headers["Authorization"] = f"Bearer {config.model_key.get_secret_value()}"
        self._http = httpx.Client(headers=headers, timeout=SECONDS, transport=transport)

    def ask(self) -> str | None:
        """Asks it; None where it answers, else what is worth a note though it may work.

        Raises:
            DevstackError: it will not answer questions as it is set up; the message says why.
        """
        with self._http:
            if self._model is None:
                raise DevstackError(
                    f"CHAT_MODEL_URL needs CHAT_MODEL, a model's name{self._names_after(': ')}."
                )
            try:
                answer = self._http.post(
                    f"{self._url}/chat/completions",
                    json={
                        "model": self._model,
                        "messages": [{"role": "user", "content": "Say yes."}],
                        "max_tokens": 1,
                    },
                )
            except httpx.TimeoutException:
                return (
                    f"The model {self._model} did not answer within {SECONDS:.0f} s; "
                    "it may still be loading."
                )
            except httpx.TransportError as error:
                raise DevstackError(
                    f"No model server answers at {self._url} (CHAT_MODEL_URL): {error}."
                ) from error
            if answer.is_success:
                return None
            raise DevstackError(self._refusal(answer))

    def _refusal(self, answer: httpx.Response) -> str:
        status = answer.status_code
        if status in {401, 403}:
            if self._has_key:
                return f"The model server at {self._url} refuses the key in CHAT_MODEL_KEY."
            return f"The model server at {self._url} asks for a key: set CHAT_MODEL_KEY."
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return f"The model server at {self._url} takes no more questions now (HTTP 429)."
        names = self._names()
        if names is None and status == httpx.codes.NOT_FOUND:
            return (
                f"Nothing at {self._url} speaks OpenAI's protocol (HTTP 404): "
                "CHAT_MODEL_URL often ends in /v1."
            )
        is_listed = names is None or self._model in names
        if status < httpx.codes.INTERNAL_SERVER_ERROR and not is_listed:
            return (
                f"The model server at {self._url} has no model {self._model!r} (CHAT_MODEL)"
                f"{_listed('; it has: ', names)}."
            )
        return f"The model server at {self._url} answers HTTP {status} for {self._model!r}."

    def _names_after(self, prefix: str) -> str:
        return _listed(prefix, self._names())

    def _names(self) -> list[str] | None:
        """The models that the server lists; None where it lists none."""
        try:
            answer = self._http.get(f"{self._url}/models")
            return [model.id for model in _Models.model_validate_json(answer.content).data]
        except (httpx.HTTPError, ValidationError):
            return None


def _listed(prefix: str, names: list[str] | None) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{prefix}{', '.join(names[:LISTED])}{rest}"
