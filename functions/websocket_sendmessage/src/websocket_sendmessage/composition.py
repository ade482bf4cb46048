"""Puts the services together: the one place that knows what each needs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from commons.services import base
from commons.services.connections import ConnectionsService
from commons.services.messages import MessagesService
from commons.services.rate_limit import PostRateService
from websocket_sendmessage.services.sending import SendingService
from websocket_sendmessage.settings import SendmessageSettings

if TYPE_CHECKING:
    from commons.realtime.broadcaster import Broadcaster


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the action calls; `close` ends a connection by its id."""

    connections: ConnectionsService
    sending: SendingService
    close: Callable[[str], object]


def build_services(settings: SendmessageSettings) -> Services:
    """The deployed ones."""
    storage = base.default_repository()
    return Services(
        connections=ConnectionsService(storage),
        sending=SendingService(
            storage,
            post_rate=PostRateService(storage, rate=settings.post_rate),
            messages=MessagesService(storage),
        ),
        close=_closing(settings),
    )


def _closing(settings: SendmessageSettings) -> Callable[[str], object]:
    @cache
    def broadcaster() -> "Broadcaster":
        # Only to close a connection that has ended: its module costs as much as all the rest.
        from commons.realtime.broadcaster import Broadcaster  # noqa: PLC0415

        return Broadcaster(settings.websocket_callback_url, max_in_flight=1)

    return lambda connection_id: broadcaster().delete_connection(connection_id)
