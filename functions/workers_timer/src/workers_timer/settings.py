"""The timer's settings."""

from commons.settings import CallbackSettings, TableSettings


class TimerSettings(TableSettings, CallbackSettings):
    """Where frames are posted, and what wakes the agent's workers."""

    agent_queue_url: str
    agent_crowded_queue_url: str
