"""SQS as the functions use it, and how it fails."""

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from commons.dynamodb.exceptions import RepositoryError, StorageUnavailableError
from commons.queues import QueueMessage, ReceivedMessage, SqsQueue

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

URL = "https://sqs.eu-west-1.amazonaws.com/1/queue"


@pytest.fixture
def client() -> "SQSClient":
    return boto3.client("sqs")


@pytest.fixture
def unreachable() -> SqsQueue:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=1)
    return SqsQueue(URL, client=boto3.client("sqs", endpoint_url=url, config=config))


def test_a_message_goes_with_its_group_and_delay(client: "SQSClient") -> None:
    with Stubber(client) as sqs:
        sqs.add_response(
            "send_message",
            {},
            {"QueueUrl": URL, "MessageBody": "b", "MessageGroupId": "g", "DelaySeconds": 5},
        )

        SqsQueue(URL, client=client).send(QueueMessage("b", group="g", delay_seconds=5))

        sqs.assert_no_pending_responses()


def test_many_go_ten_at_a_time_and_those_that_are_not_taken_are_named(
    client: "SQSClient",
) -> None:
    with Stubber(client) as sqs:
        taken = [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "x"}]
        missed = {"Id": "3", "SenderFault": False, "Code": "InternalError"}
        sqs.add_response("send_message_batch", {"Successful": taken, "Failed": [missed]})
        sqs.add_client_error("send_message_batch", "ThrottlingException")

        positions = SqsQueue(URL, client=client).send_all([QueueMessage(str(n)) for n in range(12)])

        assert positions == [3, 10, 11]


@pytest.mark.parametrize("error", ["AccessDenied", "InvalidMessageContents"])
def test_what_sqs_refuses_is_a_mistake_of_ours(client: "SQSClient", error: str) -> None:
    queue = SqsQueue(URL, client=client)
    with Stubber(client) as sqs:
        sqs.add_client_error("send_message", error)
        sqs.add_client_error("send_message_batch", error)
        refused = {"Id": "0", "SenderFault": True, "Code": error}
        sqs.add_response("send_message_batch", {"Successful": [], "Failed": [refused]})

        with pytest.raises(RepositoryError) as raised:
            queue.send(QueueMessage("b"))
        assert not isinstance(raised.value, StorageUnavailableError)
        for _ in range(2):
            with pytest.raises(RepositoryError) as raised:
                queue.send_all([QueueMessage("b")])
            assert not isinstance(raised.value, StorageUnavailableError)


def test_a_queue_that_is_not_to_be_reached_fails_like_storage(unreachable: SqsQueue) -> None:
    with pytest.raises(StorageUnavailableError):
        unreachable.send(QueueMessage("b"))
    assert unreachable.send_all([QueueMessage("b"), QueueMessage("c")]) == [0, 1]
    unreachable.hide(["handle"], 5)
    unreachable.delete(["handle"])


def test_what_is_received_says_what_it_takes_to_finish_it(client: "SQSClient") -> None:
    message = {"MessageId": "m", "ReceiptHandle": "r", "Body": "b"}
    with Stubber(client) as sqs:
        sqs.add_response(
            "receive_message",
            {"Messages": [message]},
            {
                "QueueUrl": URL,
                "MaxNumberOfMessages": 3,
                "VisibilityTimeout": 30,
                "WaitTimeSeconds": 0,
            },
        )

        assert SqsQueue(URL, client=client).receive(3, hidden_seconds=30) == [
            ReceivedMessage("m", "r", "b")
        ]


def test_where_the_queue_does_not_answer_nothing_is_received(unreachable: SqsQueue) -> None:
    assert unreachable.receive(3, hidden_seconds=30) == []
