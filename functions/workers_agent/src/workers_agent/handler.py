"""Questions off the agent's queue, to replies in the log."""

from functools import cache
from typing import TYPE_CHECKING, TypedDict

from pydantic import ValidationError

from commons.observability import log, metrics, tracer
from commons.realtime.broadcaster import Broadcaster
from commons.schemas.generation import GenerationRequest
from commons.services.base import default_repository
from commons.services.connections import ConnectionsService
from workers_agent.pace import Pace
from workers_agent.providers import build_model
from workers_agent.queue import SqsAgentQueue
from workers_agent.schemas import Delivery
from workers_agent.services.answering import AnsweringService
from workers_agent.services.batch import BatchService
from workers_agent.services.budgets import BudgetsService
from workers_agent.services.context import ContextService
from workers_agent.services.leases import LeasesService
from workers_agent.settings import AgentWorkerSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class QueueRecord(TypedDict):
    messageId: str
    receiptHandle: str
    body: str


class QueueEvent(TypedDict):
    Records: list[QueueRecord]


class BatchItemFailure(TypedDict):
    itemIdentifier: str


class BatchResponse(TypedDict):
    batchItemFailures: list[BatchItemFailure]


@cache
def batch_service() -> BatchService:
    settings = AgentWorkerSettings()
    pace = Pace(idle=settings.model_idle_timeout, total=settings.model_total_timeout)
    repository = default_repository()
    answering = AnsweringService(
        repository,
        model=build_model(settings),
        broadcaster=Broadcaster(settings.websocket_callback_url),
        audience=ConnectionsService(repository),
        leases=LeasesService(repository, seconds=pace.lease),
        context=ContextService(
            repository, tokens=settings.context_tokens, allowed_models=settings.models
        ),
        budgets=BudgetsService(
            repository,
            channel_tokens=settings.channel_tokens_per_day,
            user_tokens=settings.user_tokens_per_day,
        ),
        pace=pace,
    )
    return BatchService(answering, SqsAgentQueue(settings.agent_queue_url), pace=pace)


@metrics.log_metrics
@log.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: QueueEvent, _context: "LambdaContext") -> BatchResponse:
    undone = batch_service().answer([read_delivery(record) for record in event["Records"]])
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in undone]}


def read_delivery(record: QueueRecord) -> Delivery:
    try:
        request = GenerationRequest.model_validate_json(record["body"])
    except ValidationError:
        request = None
    return Delivery(record["messageId"], record["receiptHandle"], request)
