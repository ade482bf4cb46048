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
