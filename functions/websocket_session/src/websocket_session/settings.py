"""What a session reads from its environment."""

from commons.settings import CallbackSettings, TableSettings, TokenSettings


class SessionSettings(TableSettings, TokenSettings, CallbackSettings):
    """Tables, tokens, and where frames are posted."""
