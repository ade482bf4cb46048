"""Stream records of the log and of new generations, to the agent's queue."""

from typing import TYPE_CHECKING

from commons.dal import deserialize
from commons.observability import log, metrics, tracer
from commons.schemas import lambda_events
from workers_agent_dispatcher.composition import dispatch_service
from workers_agent_dispatcher.schemas import StreamRecord

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@metrics.log_metrics
@log.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(
    event: lambda_events.StreamEvent, _context: "LambdaContext"
) -> lambda_events.BatchResponse:
    records = [read_record(record) for record in event["Records"] if is_insert(record)]
    undone = dispatch_service().dispatch(records)
    failures: list[lambda_events.BatchItemFailure] = (
        [] if undone is None else [{"itemIdentifier": undone}]
    )
    return {"batchItemFailures": failures}


def is_insert(record: lambda_events.StreamRecord) -> bool:
    """Redaction and heartbeats change items; only what is new can be a question."""
    return record["eventName"] == "INSERT" and "NewImage" in record["dynamodb"]


def read_record(record: lambda_events.StreamRecord) -> StreamRecord:
    """The record, its image as the repository would return it."""
    change = record["dynamodb"]
    image = deserialize(change["NewImage"])
    channel_id = image.get("channel_id")
    seq = image.get("question_seq", image.get("seq"))
    return StreamRecord(
        sequence_number=change["SequenceNumber"],
        channel_id=channel_id if isinstance(channel_id, str) else None,
        seq=seq if isinstance(seq, int) else None,
        image=image,
    )
