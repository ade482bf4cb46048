"""SQS queues as the functions use them; how they fail is how storage fails."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Final

from commons.aws import sqs_client
from commons.aws_errors import AWS_ERRORS, AwsError, storage_error
from commons.dynamodb.exceptions import RepositoryError, StorageUnavailableError
from commons.observability import log

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        ChangeMessageVisibilityBatchRequestEntryTypeDef,
        DeleteMessageBatchRequestEntryTypeDef,
        SendMessageBatchRequestEntryTypeDef,
        SendMessageRequestTypeDef,
    )

MAX_BATCH: Final = 10
"""Entries of one batch: SQS's limit."""


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """What is to be sent.

    Attributes:
        group: SQS's fair queues hand out first the groups that have little in work; a FIFO queue
            keeps order within it.
        deduplication: a FIFO queue takes what has the same one once.
        delay_seconds: nobody sees it before; 900 at most.
    """

    body: str
    group: str | None = None
    delay_seconds: int = 0
    deduplication: str | None = None


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message in the hands of whoever received it."""

    message_id: str
    receipt_handle: str
    body: str


class SqsQueue:
    """One queue; botocore repeats what fails in passing.

    Args:
        url: the queue's.
        client: by default the warm function's shared one.
    """

    def __init__(self, url: str, *, client: "SQSClient | None" = None) -> None:
        self._url = url
        self._client = client if client is not None else sqs_client()

    @property
    def name(self) -> str:
        """The last part of its URL, and of its ARN."""
        return self._url.rpartition("/")[2]

    def send(self, message: QueueMessage) -> None:
        """Sends one message.

        Raises:
            StorageUnavailableError: SQS did not take it.
            RepositoryError: SQS refused it: a mistake of ours.
        """
        request: SendMessageRequestTypeDef = {"QueueUrl": self._url, "MessageBody": message.body}
        if message.group is not None:
            request["MessageGroupId"] = message.group
        if message.delay_seconds:
            request["DelaySeconds"] = message.delay_seconds
        try:
            self._client.send_message(**request)
        except AWS_ERRORS as error:
            raise storage_error("SQS", error) from error

    def send_all(self, messages: Sequence[QueueMessage]) -> list[int]:
        """Sends them; returns the positions of those that SQS did not take this time.

        Raises:
            RepositoryError: SQS refused one of them: a mistake of ours.
        """
        missed: list[int] = []
        for some in batched(enumerate(messages), MAX_BATCH):
            try:
                answer = self._client.send_message_batch(
                    QueueUrl=self._url,
                    Entries=[_entry(position, message) for position, message in some],
                )
            except AWS_ERRORS as error:
                _log_unless_refused(error)
                missed += [position for position, _ in some]
                continue
            failed = answer.get("Failed", [])
            if refused := [each["Code"] for each in failed if each["SenderFault"]]:
                raise RepositoryError(f"SQS refused a message: {refused[0]}")
            missed += [int(each["Id"]) for each in failed]
        return missed

    def receive(self, most: int, *, hidden_seconds: int) -> list[ReceivedMessage]:
        """What waits at this moment, ten messages at most; none where SQS does not answer."""
        try:
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=most,
                VisibilityTimeout=hidden_seconds,
                WaitTimeSeconds=0,
            )
        except AWS_ERRORS as error:
            log.warning("messages not received", error=type(error).__name__)
            return []
        return [
            ReceivedMessage(each["MessageId"], each["ReceiptHandle"], each["Body"])
            for each in answer.get("Messages", [])
        ]

    def hide(self, receipt_handles: Sequence[str], seconds: int) -> None:
        """Keeps messages from other workers for so long from now; best effort.

        A message that shows too early finds its work held, one that shows too late only waits.
        """
        for some in batched(receipt_handles, MAX_BATCH):
            entries: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
                {"Id": str(position), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                for position, handle in enumerate(some)
            ]
            try:
                answer = self._client.change_message_visibility_batch(
                    QueueUrl=self._url, Entries=entries
                )
            except AWS_ERRORS as error:
                log.warning("visibility not changed", error=type(error).__name__)
                continue
            if failed := answer.get("Failed", []):
                log.warning("visibility not changed", codes=[each["Code"] for each in failed])

    def delete(self, receipt_handles: Sequence[str]) -> None:
        """Takes messages out, before Lambda does so for the whole batch; best effort."""
        for some in batched(receipt_handles, MAX_BATCH):
            entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
                {"Id": str(position), "ReceiptHandle": handle}
                for position, handle in enumerate(some)
            ]
            try:
                answer = self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
            except AWS_ERRORS as error:
                log.warning("messages not deleted", error=type(error).__name__)
                continue
            if failed := answer.get("Failed", []):
                log.warning("messages not deleted", codes=[each["Code"] for each in failed])


def _entry(position: int, message: QueueMessage) -> "SendMessageBatchRequestEntryTypeDef":
    entry: SendMessageBatchRequestEntryTypeDef = {
        "Id": str(position),
        "MessageBody": message.body,
    }
    if message.group is not None:
        entry["MessageGroupId"] = message.group
    if message.deduplication is not None:
        entry["MessageDeduplicationId"] = message.deduplication
    if message.delay_seconds:
        entry["DelaySeconds"] = message.delay_seconds
    return entry


def _log_unless_refused(error: AwsError) -> None:
    """Raises what SQS refused; what it only did not do this time is logged."""
    translated = storage_error("SQS", error)
    if not isinstance(translated, StorageUnavailableError):
        raise translated from error
    log.warning("messages not sent", error=str(translated))
