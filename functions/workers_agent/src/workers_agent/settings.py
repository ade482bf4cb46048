"""The agent worker's settings."""

from typing import Literal

from pydantic import Field

from commons.settings import CallbackSettings, TableSettings


class AgentWorkerSettings(TableSettings, CallbackSettings):
    """Which model is asked, how long it may take, how much it may cost.

    Attributes:
        allowed_models: a comma list; the first is the default.
        model_url: base URL of an OpenAI-compatible server, where the provider is `openai`.
        model_api_key_secret_arn: of that server's key in Secrets Manager; empty: it needs none.
        model_idle_timeout: seconds without a token.
        model_total_timeout: seconds for a whole reply, retries included.
        context_tokens: of the conversation that a question is asked with.
        channel_tokens_per_day: a channel's, by UTC days; 0 sets no limit.
        user_tokens_per_day: of who asks, by UTC days; 0 sets no limit.
        tools_function: calls tools; empty: this stack has none.
        max_tool_calls: that a reply makes.
        max_model_requests: that the model answers for a reply.
        tool_timeout: seconds for a call.
        approval_timeout: seconds that people have to decide about a call.
    """

    agent_queue_url: str
    agent_crowded_queue_url: str
    allowed_models: str
    model_provider: Literal["bedrock", "openai"] = "bedrock"
    model_url: str = ""
    model_api_key_secret_arn: str = ""
    model_idle_timeout: float = Field(default=20.0, gt=0)
    model_total_timeout: float = Field(default=120.0, gt=0)
    context_tokens: int = Field(default=6_000, gt=0)
    channel_tokens_per_day: int = Field(default=0, ge=0)
    user_tokens_per_day: int = Field(default=0, ge=0)
    tools_function: str = ""
    max_tool_calls: int = Field(default=8, ge=0)
    max_model_requests: int = Field(default=4, ge=1)
    tool_timeout: float = Field(default=20.0, gt=0)
    approval_timeout: int = Field(default=86_400, gt=0)

    @property
    def models(self) -> list[str]:
        return [model_id.strip() for model_id in self.allowed_models.split(",")]
