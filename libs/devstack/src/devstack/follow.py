"""Follows one request through a stage's logs: from the API to the frames and the agent's reply."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from devstack.errors import DevstackError

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

UNTOLD = frozenset(
    {
        "cold_start",
        "function_arn",
        "function_memory_size",
        "function_name",
        "function_request_id",
        "level",
        "location",
        "message",
        "service",
        "timestamp",
        "xray_trace_id",
    }
)
"""Keys that every line has, or that are shown in another place."""


@dataclass(frozen=True, order=True)
class Line:
    """A line of a log that has to do with the request."""

    at: datetime
    service: str
    text: str

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S.%f}"[:-3] + f"  {self.service:<24}  {self.text}"


def follow(
    logs: "CloudWatchLogsClient", stage: str, correlation_id: str, *, hours: float
) -> list[Line]:
    """What the stage's functions logged about the request, in the order of time.

    Args:
        logs: of the account and region.
        stage: whose functions.
        correlation_id: the request's: `x-amzn-requestid` of a REST answer, `requestId` of the access
            log of either API.
        hours: how far back to look.

    Raises:
        DevstackError: no function logged anything about it.
    """
    since = datetime.now(UTC) - timedelta(hours=hours)
    lines = [
        line
        for group in _groups(logs, f"/aws/lambda/chat-{stage}-")
        for line in _lines(logs, group, correlation_id, since)
    ]
    if not lines:
        raise DevstackError(
            f"No function of stage {stage} logged {correlation_id} within the last {hours:g} hours."
        )
    return sorted(lines)


def _groups(logs: "CloudWatchLogsClient", prefix: str) -> Iterator[str]:
    for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
        for group in page["logGroups"]:
            yield group["logGroupName"]


def _lines(
    logs: "CloudWatchLogsClient", group: str, correlation_id: str, since: datetime
) -> Iterator[Line]:
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group,
        startTime=int(since.timestamp() * 1000),
        filterPattern=f'"{correlation_id}"',
    )
    for page in pages:
        for event in page["events"]:
            message = event["message"]
            # An emulator takes the pattern for everything.
            if correlation_id in message:
                yield _line(message, datetime.fromtimestamp(event["timestamp"] / 1000, UTC))


def _line(message: str, at: datetime) -> Line:
    try:
        fields: dict[str, Any] = json.loads(message)
        details = {name: value for name, value in fields.items() if name not in UNTOLD}
        told = " ".join(f"{name}={value}" for name, value in details.items())
        return Line(at, str(fields["service"]), f"{fields['message']}  {told}")
    except (ValueError, KeyError, TypeError):
        return Line(at, "", message.strip())
