"""The agent's queue as its worker uses it."""

from collections.abc import Sequence
from itertools import batched
from typing import TYPE_CHECKING, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from commons.aws import sqs_client
from commons.observability import log
from commons.schemas.generation import GenerationRequest

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_BATCH: Final = 10
"""Entries of one ChangeMessageVisibilityBatch: SQS's limit."""


class IAgentQueue(Protocol):
    """The queue of questions."""

    def hide(self, receipt_handles: Sequence[str], seconds: int) -> None:
        """Keeps messages from other workers for so long from now; best effort."""
        ...

    def put_back(self, request: GenerationRequest, *, delay_seconds: int) -> bool:
        """Queues the request anew, to be seen after the delay; False where that failed."""
        ...


class SqsAgentQueue:
    """IAgentQueue over SQS."""

    def __init__(self, queue_url: str, *, client: "SQSClient | None" = None) -> None:
        self._queue_url = queue_url
        self._client = client if client is not None else sqs_client()

    def hide(self, receipt_handles: Sequence[str], seconds: int) -> None:
        for some in batched(receipt_handles, MAX_BATCH):
            try:
                answer = self._client.change_message_visibility_batch(
                    QueueUrl=self._queue_url,
                    Entries=[
                        {
                            "Id": str(position),
                            "ReceiptHandle": receipt_handle,
                            "VisibilityTimeout": seconds,
                        }
                        for position, receipt_handle in enumerate(some)
                    ],
                )
            except (ClientError, BotoCoreError) as error:
                # A message that shows too early finds its lease held; one too late only waits.
                log.warning("visibility not changed", error=type(error).__name__)
            else:
                if failed := answer.get("Failed", []):
                    log.warning("visibility not changed", codes=[each["Code"] for each in failed])

    def put_back(self, request: GenerationRequest, *, delay_seconds: int) -> bool:
        try:
            self._client.send_message(
                QueueUrl=self._queue_url,
                MessageBody=request.to_json(),
                MessageGroupId=request.channel_id,
                DelaySeconds=delay_seconds,
            )
        except (ClientError, BotoCoreError) as error:
            log.warning("request not put back", error=type(error).__name__)
            return False
        return True
