"""Puts the worker together: the one place that knows what each part needs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from commons.clock import epoch_milliseconds
from commons.dal import IRepository
from commons.queues import SqsQueue
from commons.realtime.broadcaster import Broadcaster, IBroadcaster
from commons.services.base import default_repository
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.connections import ConnectionsService
from commons.services.event_log import EventLogService
from commons.services.membership import MembershipService
from commons.services.removals import RemovalsService
from commons.services.replay import ReplayService
from commons.services.subscriptions_ending import SubscriptionsEndingService
from workers_delivery.queues import IDeliveryQueues, SqsDeliveryQueues
from workers_delivery.services.backlog import BacklogService
from workers_delivery.services.batches import BatchService
from workers_delivery.services.delivery import DeliveryService
from workers_delivery.services.push import IGateway, PushContext
from workers_delivery.services.slow_connections import SlowConnectionsService
from workers_delivery.settings import DeliverySettings

PATIENCE_SECONDS = 0.75
"""For a connection in a push, of a batch that has a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a batch is given to, and what it gives its events to."""

    batches: BatchService
    delivery: DeliveryService


@cache
def batch_service() -> BatchService:
    """Of a warm function."""
    settings = DeliverySettings()
    return build_services(
        default_repository(),
        gateway=Broadcaster(settings.websocket_callback_url, patience_seconds=PATIENCE_SECONDS),
        patient=Broadcaster(settings.websocket_callback_url),
        queues=SqsDeliveryQueues(
            parking=SqsQueue(settings.parking_queue_url),
            rooms=SqsQueue(settings.rooms_queue_url),
            catch_up=SqsQueue(settings.catch_up_queue_url),
        ),
    ).batches


def build_services(
    repository: IRepository,
    *,
    gateway: IGateway,
    patient: IBroadcaster,
    queues: IDeliveryQueues,
    clock: Callable[[], float] = time.monotonic,
    epoch: Callable[[], int] = epoch_milliseconds,
) -> Services:
    """The worker over one repository.

    Args:
        repository: of all three tables.
        gateway: gives a connection that takes nothing up within a second.
        patient: tries for as long as it is told.
        queues: what is to be done apart from the stream.
        clock: seconds that never go back.
        epoch: milliseconds.
    """
    connections = ConnectionsService(repository, clock=epoch)
    event_log = EventLogService(repository)
    membership = MembershipService(repository)
    broadcasts = ChannelBroadcastService(repository, broadcaster=patient, connections=connections)
    slow = SlowConnectionsService(
        repository,
        connections=connections,
        replay=ReplayService(
            repository,
            broadcaster=patient,
            connections=connections,
            event_log=event_log,
            membership=membership,
        ),
        gateway=gateway,
        queues=queues,
        epoch=epoch,
    )
    backlog = BacklogService(repository, epoch=epoch)
    delivery = DeliveryService(
        repository,
        context=PushContext(
            connections=connections,
            removals=RemovalsService(repository, clock=epoch),
            event_log=event_log,
            membership=membership,
            gateway=gateway,
            clock=clock,
            epoch=epoch,
        ),
        slow=slow,
        backlog=backlog,
        queues=queues,
    )
    ending = SubscriptionsEndingService(repository, broadcasts=broadcasts, connections=connections)
    return Services(
        batches=BatchService(
            repository, delivery=delivery, slow=slow, backlog=backlog, ending=ending, queues=queues
        ),
        delivery=delivery,
    )
