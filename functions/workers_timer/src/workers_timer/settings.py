"""The timer's settings."""

from commons.settings import CallbackSettings, TableSettings


class TimerSettings(TableSettings, CallbackSettings):
    """Where frames are posted, and what wakes the agent's workers.

    Attributes:
        maximum_concurrency: workers of the agent's queue at once, by which a channel has its places.
    """

    agent_queue_url: str
    agent_crowded_queue_url: str
    maximum_concurrency: int
