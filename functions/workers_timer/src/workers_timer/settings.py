"""The timer's settings."""

from commons.settings import CallbackSettings, TableSettings


class TimerSettings(TableSettings, CallbackSettings):
    """Where frames are posted."""
