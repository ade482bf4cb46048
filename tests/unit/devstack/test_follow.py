"""One request through the logs of a stage."""

import json
import time
from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from devstack.errors import DevstackError
from devstack.follow import follow


@pytest.fixture(autouse=True)
def _account() -> Iterator[None]:
    with mock_aws():
        yield


def write(service: str, *lines: dict[str, object], stage: str = "dev", at: int = 0) -> None:
    logs = boto3.client("logs")
    group = f"/aws/lambda/chat-{stage}-{service}"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="a")
    now = int(time.time() * 1000) - 10_000 + at
    logs.put_log_events(
        logGroupName=group,
        logStreamName="a",
        logEvents=[
            {"timestamp": now + number, "message": json.dumps(line | {"service": service})}
            for number, line in enumerate(lines)
        ],
    )


def test_a_request_is_followed_through_the_functions_in_the_order_of_time() -> None:
    write("workers_delivery", {"message": "delivered", "correlation_ids": ["id-1"]}, at=500)
    write(
        "rest_api",
        {"message": "served", "correlation_id": "id-1", "status": 201, "location": "handle:1"},
        {"message": "served", "correlation_id": "id-2", "status": 404},
    )
    write("rest_api", {"message": "served", "correlation_id": "id-1"}, stage="prod")

    lines = follow(boto3.client("logs"), "dev", "id-1", hours=1)

    assert [(line.service, line.text.split()[0]) for line in lines] == [
        ("rest_api", "served"),
        ("workers_delivery", "delivered"),
    ]
    assert "status=201" in lines[0].text
    assert "location" not in lines[0].text


def test_what_nobody_logged_is_said() -> None:
    write("rest_api", {"message": "served", "correlation_id": "id-2"})
    with pytest.raises(DevstackError, match="No function of stage dev logged id-1"):
        follow(boto3.client("logs"), "dev", "id-1", hours=1)
