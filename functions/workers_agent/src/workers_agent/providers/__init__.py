"""Model providers: each speaks its own protocol and knows its own failures."""

from workers_agent.model import IModel
from workers_agent.settings import AgentWorkerSettings

__all__ = ["build_model"]


def build_model(settings: AgentWorkerSettings) -> IModel:
    """The model that the settings describe; only its provider's client is imported."""
    if settings.model_provider == "openai":
        from workers_agent.providers import openai  # noqa: PLC0415 - httpx is needed here alone

        return openai.build(settings)
    from workers_agent.providers import bedrock  # noqa: PLC0415 - so is Bedrock's client

    return bedrock.build(settings)
