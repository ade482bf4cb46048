"""The two SQS queues as the dispatcher uses them."""

from collections.abc import Sequence
from itertools import batched
from typing import TYPE_CHECKING, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from commons.aws import sqs_client
from commons.errors import UnavailableError
from commons.schemas.generation import GenerationRequest
from workers_agent_dispatcher.schemas import Parked

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_BATCH: Final = 10
"""Entries of one SendMessageBatch: SQS's limit."""


class QueueUnavailableError(UnavailableError):
    """SQS did not take the messages, though asked several times."""


class IQueue(Protocol):
    """Where the dispatcher's findings go."""

    def ask(self, requests: Sequence[GenerationRequest]) -> list[int]:
        """Queues the requests; returns the positions of those that were not taken."""
        ...

    def park(self, parked: Parked) -> None:
        """Lays aside what could not be done.

        Raises:
            QueueUnavailableError: not even that could be done.
        """
        ...


class SqsQueue:
    """IQueue over SQS; botocore repeats what fails in passing.

    Args:
        agent_queue_url: of the questions.
        parking_queue_url: of what could not be dispatched.
    """

    def __init__(
        self, agent_queue_url: str, parking_queue_url: str, *, client: "SQSClient | None" = None
    ) -> None:
        self._agent_queue_url = agent_queue_url
        self._parking_queue_url = parking_queue_url
        self._client = client if client is not None else sqs_client()

    def ask(self, requests: Sequence[GenerationRequest]) -> list[int]:
        refused: list[int] = []
        for some in batched(enumerate(requests), MAX_BATCH):
            try:
                answer = self._client.send_message_batch(
                    QueueUrl=self._agent_queue_url,
                    # Not FIFO: SQS's fair queues hand out the groups that have little in work first.
                    Entries=[
                        {
                            "Id": str(position),
                            "MessageBody": request.to_json(),
                            "MessageGroupId": request.channel_id,
                        }
                        for position, request in some
                    ],
                )
            except (ClientError, BotoCoreError):
                refused.extend(position for position, _ in some)
            else:
                refused.extend(int(entry["Id"]) for entry in answer.get("Failed", ()))
        return refused

    def park(self, parked: Parked) -> None:
        try:
            self._client.send_message(
                QueueUrl=self._parking_queue_url, MessageBody=parked.to_json()
            )
        except (ClientError, BotoCoreError) as error:
            raise QueueUnavailableError from error
