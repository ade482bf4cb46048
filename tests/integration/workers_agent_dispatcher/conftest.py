import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext


@pytest.fixture
def lambda_context() -> LambdaContext:
    context = LambdaContext()
    context._function_name = "workers-agent-dispatcher"
    context._memory_limit_in_mb = 256
    context._invoked_function_arn = "arn:aws:lambda:eu-west-1:1:function:dispatcher"
    context._aws_request_id = "request-1"
    return context
