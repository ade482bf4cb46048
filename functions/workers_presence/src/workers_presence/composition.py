"""Puts the presence worker together: the one place that knows what each part needs."""

from collections.abc import Callable
from dataclasses import dataclass

from commons.clock import epoch_milliseconds
from commons.dal import IRepository
from commons.queues import SqsQueue
from commons.realtime.broadcaster import Broadcaster, IBroadcaster
from commons.services.base import default_repository
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.connections import ConnectionsService
from commons.services.rate_limit import NoticeRateService
from commons.services.subscriptions import SubscriptionsService
from commons.services.typing_notices import TypingNoticesService
from workers_presence.queue import IChecks, SqsChecks
from workers_presence.services.changes import ChangesService
from workers_presence.services.checks import ChecksService
from workers_presence.services.presence import PresenceService
from workers_presence.services.rooms import RoomsService
from workers_presence.services.told import ToldService
from workers_presence.services.typing import TypingChecksService
from workers_presence.settings import PresenceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the handler calls: one service a source."""

    changes: ChangesService
    checks: ChecksService


def build_services(
    settings: PresenceSettings,
    *,
    repository: IRepository | None = None,
    broadcaster: IBroadcaster | None = None,
    queue: IChecks | None = None,
    clock: Callable[[], int] = epoch_milliseconds,
) -> Services:
    """The services over one repository; what is not given is the deployed one."""
    storage = repository if repository is not None else default_repository()
    sender = broadcaster or Broadcaster(settings.websocket_callback_url)
    checks = queue or SqsChecks(SqsQueue(settings.departures_queue_url))
    connections = ConnectionsService(storage, clock=clock)
    told = ToldService(storage, clock=clock)
    broadcasts = ChannelBroadcastService(storage, broadcaster=sender, connections=connections)
    presence = PresenceService(
        storage,
        told=told,
        rooms=RoomsService(
            storage, subscriptions=SubscriptionsService(storage, clock=clock), clock=clock
        ),
        broadcasts=broadcasts,
        broadcaster=sender,
        clock=clock,
    )
    notices = TypingNoticesService(
        storage,
        broadcasts=broadcasts,
        notice_rate=NoticeRateService(storage, kind="typing", clock=clock),
        clock=clock,
    )
    return Services(
        changes=ChangesService(storage, told=told, queue=checks),
        checks=ChecksService(
            storage,
            presence=presence,
            typing=TypingChecksService(storage, notices=notices),
            queue=checks,
        ),
    )
