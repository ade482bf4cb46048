"""Messages of SQS as Lambda hands them over."""

from commons.schemas.lambda_events import QueueRecord


def queue_record(
    message_id: str, body: str, *, queue: str = "chat-test-rooms.fifo", tries: int = 1
) -> QueueRecord:
    """One that was received so many times, with a receipt handle of its own."""
    return {
        "messageId": message_id,
        "receiptHandle": f"receipt-{message_id}",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:eu-west-1:1:{queue}",
        "attributes": {"ApproximateReceiveCount": str(tries)},
        "body": body,
    }
