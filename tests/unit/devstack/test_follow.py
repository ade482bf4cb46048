"""One request through the logs of a stage."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from devstack.errors import DevstackError
from devstack.follow import follow

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

NOW = 1_800_000_000_000


@dataclass
class Logs:
    """CloudWatch Logs as an emulator has it: every filter pattern matches everything."""

    groups: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def write(self, name: str, *lines: dict[str, object], stage: str = "dev", at: int = 0) -> None:
        self.groups[f"/aws/lambda/chat-{stage}-{name}"] = [
            {"timestamp": NOW + at + number, "message": json.dumps(line | {"service": name})}
            for number, line in enumerate(lines)
        ]

    def get_paginator(self, operation: str) -> "Logs":
        assert operation in {"describe_log_groups", "filter_log_events"}
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        if "logGroupNamePrefix" in asked:
            for name in self.groups:
                if name.startswith(asked["logGroupNamePrefix"]):
                    yield {"logGroups": [{"logGroupName": name}]}
        else:
            yield {"events": self.groups[asked["logGroupName"]]}


@pytest.fixture
def logs() -> Logs:
    return Logs()


def as_client(logs: Logs) -> "CloudWatchLogsClient":
    return cast("CloudWatchLogsClient", logs)


def test_a_request_is_followed_through_the_functions_in_the_order_of_time(logs: Logs) -> None:
    logs.write("workers_delivery", {"message": "delivered", "correlation_ids": ["id-1"]}, at=500)
    logs.write(
        "rest_api",
        {"message": "served", "correlation_id": "id-1", "status": 201, "location": "handle:1"},
        {"message": "served", "correlation_id": "id-2", "status": 404},
    )
    logs.write("rest_api", {"message": "served", "correlation_id": "id-1"}, stage="prod")

    lines = follow(as_client(logs), "dev", "id-1", hours=1)

    assert [(line.service, line.text.split()[0]) for line in lines] == [
        ("rest_api", "served"),
        ("workers_delivery", "delivered"),
    ]
    assert "status=201" in lines[0].text
    assert "location" not in lines[0].text


def test_what_nobody_logged_is_said(logs: Logs) -> None:
    logs.write("rest_api", {"message": "served", "correlation_id": "id-2"})

    with pytest.raises(DevstackError, match="No function of stage dev logged id-1"):
        follow(as_client(logs), "dev", "id-1", hours=1)
