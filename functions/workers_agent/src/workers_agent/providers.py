"""Models of the provider that the settings name."""

from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from commons.aws import secretsmanager_client
from workers_agent.model import IModel
from workers_agent.pydantic_model import PydanticAIModel
from workers_agent.settings import AgentWorkerSettings

if TYPE_CHECKING:
    from pydantic_ai.models import Model

_CONNECT_SECONDS = 5.0


def build_model(settings: AgentWorkerSettings) -> IModel:
    """The model that the settings describe; only its provider's SDK is imported."""
    if settings.model_provider == "openai":
        return _openai(settings)
    return _bedrock(settings)


def _bedrock(settings: AgentWorkerSettings) -> IModel:
    from pydantic_ai.models.bedrock import BedrockConverseModel  # noqa: PLC0415 - 0.4 s
    from pydantic_ai.providers.bedrock import BedrockProvider  # noqa: PLC0415

    client = boto3.client(
        "bedrock-runtime",
        config=Config(
            connect_timeout=_CONNECT_SECONDS,
            # The worker's own clock is first; this one frees the thread behind it.
            read_timeout=settings.model_idle_timeout + 1,
            # The worker repeats: it knows what was streamed and how much time is left.
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=50,
        ),
    )
    provider = BedrockProvider(bedrock_client=client)

    @cache
    def build(model_id: str) -> "Model":
        return BedrockConverseModel(model_id, provider=provider)

    async def close() -> None:
        client.close()

    return PydanticAIModel(build, close=close)


def _openai(settings: AgentWorkerSettings) -> IModel:
    from openai import AsyncOpenAI  # noqa: PLC0415 - 0.5 s
    from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415
    from pydantic_ai.profiles.openai import OpenAIModelProfile  # noqa: PLC0415
    from pydantic_ai.providers.openai_compatible import (  # noqa: PLC0415
        OpenAICompatibleProvider,
    )

    client = AsyncOpenAI(
        base_url=settings.model_url,
        api_key=_api_key(settings.model_api_key_secret_arn),
        max_retries=0,
        timeout=settings.model_idle_timeout + 1,
    )
    profile = OpenAIModelProfile(
        # A stream that ends without one broke off.
        openai_chat_streaming_requires_finish_reason=True,
        # Ollama and many gateways know the older `max_tokens` only.
        openai_chat_supports_max_completion_tokens=(
            urlsplit(settings.model_url).hostname == "api.openai.com"
        ),
    )
    provider = OpenAICompatibleProvider("gateway", openai_client=client, profile=profile)

    @cache
    def build(model_id: str) -> "Model":
        return OpenAIChatModel(model_id, provider=provider)

    return PydanticAIModel(build, close=client.close)


def _api_key(secret_arn: str) -> str:
    """The server's key; a placeholder where it needs none, because the SDK insists on one."""
    if not secret_arn:
        return "none"
    return secretsmanager_client().get_secret_value(SecretId=secret_arn)["SecretString"]
