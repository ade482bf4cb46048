"""Settings that several functions share, as mixins: each function composes its own from them."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class FunctionSettings(BaseSettings):
    """Read from the environment once, then frozen."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    stage: str = "dev"


class TableSettings(FunctionSettings):
    """Names of the deployed tables; a function has those that it may touch."""

    chat_events_table: str = ""
    channels_table: str = ""
    connections_table: str = ""


class TokenSettings(FunctionSettings):
    """Which tokens are believed (CONTRACT, section 4)."""

    jwt_issuer: str
    jwt_audience: str
    jwt_jwks_url: str
    jwt_user_claim: str = "sub"


class CallbackSettings(FunctionSettings):
    """Where frames are posted: `https://…/{stage}` without a slash at the end."""

    websocket_callback_url: str
