"""The dispatcher's settings."""

from commons.settings import TableSettings


class DispatcherSettings(TableSettings):
    """Where questions go, and where those go that could not be dispatched.

    Attributes:
        maximum_concurrency: workers of the agent's queue at once, by which a channel has its places.
    """

    agent_queue_url: str
    agent_crowded_queue_url: str
    maximum_concurrency: int
    parking_queue_url: str
