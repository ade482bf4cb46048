import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.workers_delivery.support import (
    Gateway,
    context_of,
    deploy_queue,
    serving_gateway,
)

from commons.observability import log as logger
from workers_delivery import composition

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    with serving_gateway() as gateway:
        monkeypatch.setenv("WEBSOCKET_CALLBACK_URL", gateway.url)
        yield gateway


@dataclass
class ParkingQueue:
    url: str
    sqs: "SQSClient"

    def bodies(self) -> list[dict[str, object]]:
        answer = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    def break_down(self) -> None:
        self.sqs.delete_queue(QueueUrl=self.url)


@pytest.fixture
def parking(moto_aws: None, monkeypatch: pytest.MonkeyPatch) -> ParkingQueue:
    url = deploy_queue("WorkersDeliveryFunction", "PARKING_QUEUE_URL")
    monkeypatch.setenv("PARKING_QUEUE_URL", url)
    for variable in ("ROOMS_QUEUE_URL", "CATCH_UP_QUEUE_URL"):
        monkeypatch.setenv(variable, deploy_queue("WorkersDeliveryFunction", variable))
    return ParkingQueue(url, boto3.client("sqs"))


@pytest.fixture(autouse=True)
def _cold_function(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # What is slow here is moto.
    monkeypatch.setattr("workers_delivery.services.delivery.BATCH_SECONDS", 30)
    composition.batch_service.cache_clear()
    yield
    composition.batch_service.cache_clear()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The function's log: the logger holds on to the stream it found when it was imported."""
    logged = io.StringIO()
    for each in logger.handlers:
        monkeypatch.setattr(each, "stream", logged)
    return logged


@pytest.fixture
def lambda_context() -> LambdaContext:
    return context_of("workers_delivery")
