"""Questions off the agent's queues, to replies in the log."""

from typing import TYPE_CHECKING

from commons.observability import log, metrics, tracer
from commons.schemas.lambda_events import BatchResponse, QueueEvent, QueueRecord
from workers_agent.composition import batch_service
from workers_agent.schemas import Delivery

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@metrics.log_metrics
@log.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: QueueEvent, _context: "LambdaContext") -> BatchResponse:
    undone = batch_service().answer([read_delivery(record) for record in event["Records"]])
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in undone]}


def read_delivery(record: QueueRecord) -> Delivery:
    queue_name = record["eventSourceARN"].rpartition(":")[2]
    return Delivery.read(
        record["messageId"], record["receiptHandle"], record["body"], queue_name=queue_name
    )
