"""What the authorizer reads from its environment."""

from commons.settings import TokenSettings


class Settings(TokenSettings):
    """Which tokens are believed."""
