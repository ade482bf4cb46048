"""The presence worker's settings."""

from commons.settings import CallbackSettings, TableSettings


class PresenceSettings(TableSettings, CallbackSettings):
    """Where frames are posted, and where checks wait, most of them of departures."""

    departures_queue_url: str
