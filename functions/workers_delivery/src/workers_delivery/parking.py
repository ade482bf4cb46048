"""The queue for what could not be delivered."""

from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from commons.aws import sqs_client
from workers_delivery.schemas import ParkedRange

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class ParkingUnavailableError(Exception):
    """SQS did not take the message, though asked several times."""


class IParking(Protocol):
    """Where ranges are laid aside."""

    def park(self, parked: ParkedRange) -> None:
        """Lays a range aside.

        Raises:
            ParkingUnavailableError: not even that could be done.
        """
        ...


class SqsParking:
    """IParking over SQS; botocore repeats what fails in passing."""

    def __init__(self, queue_url: str, *, client: "SQSClient | None" = None) -> None:
        self._queue_url = queue_url
        self._client = client if client is not None else sqs_client()

    def park(self, parked: ParkedRange) -> None:
        try:
            self._client.send_message(QueueUrl=self._queue_url, MessageBody=parked.to_json())
        except (ClientError, BotoCoreError) as error:
            raise ParkingUnavailableError from error
