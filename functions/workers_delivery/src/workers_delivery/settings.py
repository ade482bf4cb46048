"""The delivery worker's settings."""

from commons.settings import CallbackSettings, TableSettings


class DeliverySettings(TableSettings, CallbackSettings):
    """Where frames are posted, and where that goes which could not be delivered."""

    parking_queue_url: str
