"""What posting by WebSocket reads from its environment."""

from commons.settings import CallbackSettings, TableSettings


class SendmessageSettings(TableSettings, CallbackSettings):
    """How fast a user may post.

    Attributes:
        post_rate: posts a second a user, with bursts of twice as many; 0: unlimited.
    """

    post_rate: int = 0
