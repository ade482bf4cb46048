"""Puts the dispatcher together: the one place that knows what each part needs."""

from functools import cache

from commons.queues import SqsQueue
from commons.services.base import default_repository
from commons.services.crowding import CrowdingService
from commons.services.generations import GenerationsService
from commons.services.membership import MembershipService
from workers_agent_dispatcher.queue import SqsQueues
from workers_agent_dispatcher.services.dispatch import DispatchService
from workers_agent_dispatcher.settings import DispatcherSettings


@cache
def dispatch_service() -> DispatchService:
    """Of a warm function."""
    settings = DispatcherSettings()
    repository = default_repository()
    return DispatchService(
        SqsQueues(
            SqsQueue(settings.agent_queue_url),
            SqsQueue(settings.agent_crowded_queue_url),
            SqsQueue(settings.parking_queue_url),
        ),
        repository,
        membership=MembershipService(repository),
        generations=GenerationsService(repository),
        crowding=CrowdingService(repository, workers=settings.maximum_concurrency),
    )
