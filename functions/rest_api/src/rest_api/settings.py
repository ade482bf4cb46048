"""What the REST API reads from its environment."""

from pydantic import Field

from commons.settings import CallbackSettings, TableSettings


class Settings(TableSettings, CallbackSettings):
    """Settings of the REST API.

    Attributes:
        allowed_origins: comma list of browsers' origins that may call; empty: none but our own.
        allowed_models: comma list of what `modelId` may be; the first is the default.
        cursor_secret_arn: the secret that signs cursors.
        post_rate: posts a second a user, with bursts of twice as many; 0: unlimited.
        max_members: members that a channel may have; it may be created with 41.
    """

    allowed_origins: str = ""
    allowed_models: str
    cursor_secret_arn: str
    post_rate: int = 0
    max_members: int = Field(default=1_000, ge=41, le=10_000)

    @property
    def origins(self) -> list[str]:
        return _split(self.allowed_origins)

    @property
    def models(self) -> list[str]:
        return _split(self.allowed_models)


def _split(comma_list: str) -> list[str]:
    return [part for item in comma_list.split(",") if (part := item.strip())]
