"""What the handshake reads from its environment."""

from commons.settings import CallbackSettings, TableSettings, TokenSettings


class ConnectSettings(TableSettings, TokenSettings, CallbackSettings):
    """Who may connect.

    Attributes:
        allow_token_in_query: believe `?token=` too: a long-lived secret in a URL, for local use.
        allowed_origins: comma list of browsers' origins that may connect; empty: any.
    """

    allow_token_in_query: bool = False
    allowed_origins: str = ""

    @property
    def origins(self) -> frozenset[str]:
        return frozenset(
            origin for part in self.allowed_origins.split(",") if (origin := part.strip())
        )
