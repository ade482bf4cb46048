"""The queue in which departures wait for 5 s."""

from collections.abc import Sequence
from itertools import batched
from typing import TYPE_CHECKING, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from commons.aws import sqs_client
from workers_presence.schemas import Departure

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

GRACE_SECONDS: Final = 5
"""Who is back within that was never away (CONTRACT, section 3)."""

_MAX_BATCH: Final = 10
"""Entries of one SendMessageBatch: SQS's limit."""


class IDepartures(Protocol):
    """Hands departures back after 5 s."""

    def postpone(self, departures: Sequence[Departure]) -> list[Departure]:
        """Queues the departures; returns those that were not taken."""
        ...


class SqsDepartures:
    """IDepartures over SQS; botocore repeats what fails in passing."""

    def __init__(self, queue_url: str, *, client: "SQSClient | None" = None) -> None:
        self._queue_url = queue_url
        self._client = client if client is not None else sqs_client()

    def postpone(self, departures: Sequence[Departure]) -> list[Departure]:
        refused: list[Departure] = []
        for some in batched(departures, _MAX_BATCH):
            try:
                answer = self._client.send_message_batch(
                    QueueUrl=self._queue_url,
                    Entries=[
                        {
                            "Id": str(position),
                            "MessageBody": departure.to_json(),
                            "DelaySeconds": GRACE_SECONDS,
                        }
                        for position, departure in enumerate(some)
                    ],
                )
            except (ClientError, BotoCoreError):
                refused.extend(some)
            else:
                refused.extend(some[int(entry["Id"])] for entry in answer.get("Failed", ()))
        return refused
