import json
import subprocess
import sys

import pytest

TRACED_HANDLER = """
import sys
from commons.observability import tracer

@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event, context):
    return event

assert "aws_xray_sdk.core" not in sys.modules
assert lambda_handler({"a": 1}, None) == {"a": 1}
print("aws_xray_sdk.core" in sys.modules)
"""


@pytest.mark.parametrize(
    ("environment", "is_traced"),
    [
        ({"POWERTOOLS_TRACE_DISABLED": "true", "LAMBDA_TASK_ROOT": "/var/task"}, "False"),
        ({"POWERTOOLS_TRACE_DISABLED": "false", "LAMBDA_TASK_ROOT": "/var/task"}, "True"),
        ({"LAMBDA_TASK_ROOT": "/var/task"}, "True"),
        ({"POWERTOOLS_TRACE_DISABLED": "false"}, "False"),
    ],
)
def test_the_tracer_is_loaded_by_the_first_call_that_is_traced(
    environment: dict[str, str], is_traced: str
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", TRACED_HANDLER],
        env={"PATH": "/usr/bin:/bin", "AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR", **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == is_traced


MEASURED_HANDLER = """
from commons.observability import count_unhandled, log, metrics

@metrics.log_metrics
def lambda_handler(event, context):
    log.info("a line")
    count_unhandled()

lambda_handler({}, None)
lambda_handler({}, None)
"""


def lines_of(environment: dict[str, str]) -> list[dict[str, object]]:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURED_HANDLER],
        env={
            "PATH": "/usr/bin:/bin",
            "STAGE": "blue",
            "POWERTOOLS_SERVICE_NAME": "rest_api",
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_metric_names_service_and_stage() -> None:
    published = [line for line in lines_of({}) if "_aws" in line]

    assert len(published) == 2
    for line in published:
        assert (line["service"], line["stage"], line["Unhandled"]) == ("rest_api", "blue", [1.0])
        directive = json.loads(json.dumps(line["_aws"]))["CloudWatchMetrics"][0]
        assert set(directive["Dimensions"][0]) == {"service", "stage"}
        assert directive["Namespace"] == "Chat"


def test_the_stacks_log_level_holds_although_the_platform_lets_more_through() -> None:
    """Powertools would take the platform's, which has to stay INFO for the metrics."""
    lines = lines_of({"AWS_LAMBDA_LOG_LEVEL": "INFO", "POWERTOOLS_LOG_LEVEL": "ERROR"})

    assert len(lines) == 2
    assert all("_aws" in line for line in lines)
