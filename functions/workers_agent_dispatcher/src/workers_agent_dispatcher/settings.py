"""The dispatcher's settings."""

from commons.settings import TableSettings


class DispatcherSettings(TableSettings):
    """Where questions go, and where those go that could not be dispatched."""

    agent_queue_url: str
    agent_crowded_queue_url: str
    parking_queue_url: str
