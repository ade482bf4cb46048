"""The delivery worker's settings."""

from commons.settings import CallbackSettings, TableSettings


class DeliverySettings(TableSettings, CallbackSettings):
    """Where frames are posted, and the queues.

    Attributes:
        parking_queue_url: takes what could not be delivered.
        rooms_queue_url: takes what is delivered apart from the stream; FIFO.
        catch_up_queue_url: takes connections that did not take a push in time.
    """

    parking_queue_url: str
    rooms_queue_url: str
    catch_up_queue_url: str
