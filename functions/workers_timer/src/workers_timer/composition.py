"""Puts the timer together: the one place that knows its kinds."""

from commons.dal import IRepository
from commons.queues import SqsQueue
from commons.realtime.broadcaster import Broadcaster, IBroadcaster
from commons.services.base import default_repository
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.closing import ClosingService
from commons.services.connections import ConnectionsService
from commons.services.crowding import CrowdingService
from commons.services.event_log import EventLogService
from commons.services.generation_endings import GenerationEndingsService
from commons.services.generations import GenerationsService
from commons.services.subscriptions_ending import SubscriptionsEndingService
from commons.services.tool_decisions import ToolDecisionsService
from commons.services.tool_redaction import ToolRedactionService
from workers_timer.queue import IAgentQueue, SqsAgentQueues
from workers_timer.services.approvals import ApprovalsService
from workers_timer.services.deleted_channels import DeletedChannelsService
from workers_timer.services.deleted_messages import DeletedMessagesService
from workers_timer.services.open_generations import OpenGenerationsService
from workers_timer.services.timers import TimersService
from workers_timer.settings import TimerSettings


def build_timers(
    settings: TimerSettings,
    *,
    repository: IRepository | None = None,
    broadcaster: IBroadcaster | None = None,
    queue: IAgentQueue | None = None,
) -> TimersService:
    """The timer over one repository; what is not given is the deployed one."""
    storage = repository if repository is not None else default_repository()
    connections = ConnectionsService(storage)
    broadcasts = ChannelBroadcastService(
        storage,
        broadcaster=broadcaster or Broadcaster(settings.websocket_callback_url),
        connections=connections,
    )
    ending = SubscriptionsEndingService(storage, broadcasts=broadcasts, connections=connections)
    closing = ClosingService(storage, subscriptions=ending)
    event_log = EventLogService(storage)
    endings = GenerationEndingsService(storage, event_log=event_log)
    generations = GenerationsService(storage, event_log=event_log, endings=endings)
    return TimersService(
        storage,
        kinds=[
            DeletedChannelsService(storage, closing=closing),
            OpenGenerationsService(
                storage,
                generations=generations,
                endings=endings,
                crowding=CrowdingService(storage, workers=settings.maximum_concurrency),
                queue=queue
                or SqsAgentQueues(
                    SqsQueue(settings.agent_queue_url), SqsQueue(settings.agent_crowded_queue_url)
                ),
            ),
            ApprovalsService(storage, decisions=ToolDecisionsService(storage, event_log=event_log)),
            DeletedMessagesService(
                storage, generations=generations, tools=ToolRedactionService(storage)
            ),
        ],
    )
