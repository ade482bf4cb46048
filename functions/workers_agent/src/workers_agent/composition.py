"""Puts the worker together: the one place that knows what each part needs."""

from functools import cache

from commons.clock import epoch_milliseconds
from commons.dal import IRepository
from commons.queues import SqsQueue
from commons.realtime.broadcaster import Broadcaster, IBroadcaster
from commons.services.base import default_repository
from commons.services.connections import ConnectionsService
from commons.services.event_log import EventLogService
from commons.services.generation_endings import GenerationEndingsService
from commons.services.membership import MembershipService
from commons.services.spend import SpendService
from commons.services.tool_calls import ToolCallsService
from commons.services.tool_catalogue import ToolCatalogueService
from workers_agent.model import IModel
from workers_agent.pace import Pace
from workers_agent.providers import build_model
from workers_agent.queue import IAgentQueue, SqsAgentQueues
from workers_agent.services.answering import AnsweringService
from workers_agent.services.batch import BatchService
from workers_agent.services.claims import ClaimsService
from workers_agent.services.collaborators import Bounds, Collaborators
from workers_agent.services.context import ContextService
from workers_agent.services.deltas import IAudience
from workers_agent.services.turns import Turns
from workers_agent.services.writing import AnswerWriter
from workers_agent.settings import AgentWorkerSettings
from workers_agent.tool_function import IToolFunction, LambdaToolFunction, NoTools


@cache
def batch_service() -> BatchService:
    """Of a warm function."""
    settings = AgentWorkerSettings()
    repository = default_repository()
    return build_batch_service(
        settings,
        repository,
        pace=Pace(idle=settings.model_idle_timeout, total=settings.model_total_timeout),
        model=build_model(settings),
        broadcaster=Broadcaster(settings.websocket_callback_url),
        audience=ConnectionsService(repository),
        queue=SqsAgentQueues(
            SqsQueue(url) for url in (settings.agent_queue_url, settings.agent_crowded_queue_url)
        ),
        tools=build_tool_function(settings),
    )


def build_batch_service(
    settings: AgentWorkerSettings,
    repository: IRepository,
    *,
    pace: Pace,
    model: IModel,
    broadcaster: IBroadcaster,
    audience: IAudience,
    queue: IAgentQueue,
    tools: IToolFunction,
) -> BatchService:
    """The worker over one repository."""
    event_log = EventLogService(repository)
    spend = SpendService(
        repository,
        channel_tokens=settings.channel_tokens_per_day,
        user_tokens=settings.user_tokens_per_day,
    )
    membership = MembershipService(repository)
    calls = ToolCallsService(
        repository,
        event_log=event_log,
        membership=membership,
        approval_seconds=settings.approval_timeout,
    )
    endings = GenerationEndingsService(repository, event_log=event_log, spend=spend, calls=calls)
    collaborators = Collaborators(
        claims=ClaimsService(repository, seconds=pace.lease, spend=spend, endings=endings),
        endings=endings,
        event_log=event_log,
        membership=membership,
        context=ContextService(
            repository, tokens=settings.context_tokens, allowed_models=settings.models
        ),
        catalogue=ToolCatalogueService(repository),
        calls=calls,
        tools=tools,
        spend=spend,
        writer=AnswerWriter(model, pace=pace),
        pace=pace,
        bounds=Bounds(calls=settings.max_tool_calls, requests=settings.max_model_requests),
        turns=Turns(),
        clock=epoch_milliseconds,
    )
    answering = AnsweringService(
        collaborators, model=model, broadcaster=broadcaster, audience=audience
    )
    return BatchService(answering, queue, pace=pace)


def build_tool_function(settings: AgentWorkerSettings) -> IToolFunction:
    """The stack's function that calls tools, if it has one."""
    if not settings.tools_function:
        return NoTools()
    return LambdaToolFunction(settings.tools_function, seconds=settings.tool_timeout)
