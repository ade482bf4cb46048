"""Invoked by the agent for a call, and by a rule of EventBridge to refresh the catalogue."""

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from commons.observability import log, metrics, tracer
from workers_tools.composition import services
from workers_tools.schemas import INVOCATION, CallRequest, Invocation

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class InvocationError(Exception):
    """The invocation was not done. Lambda logs this, so it holds no word of what was asked."""


@metrics.log_metrics
@log.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: dict[str, object], _context: "LambdaContext") -> dict[str, Any]:
    invocation = read_invocation(event)
    try:
        if isinstance(invocation, CallRequest):
            return services().calling.call(invocation).to_wire()
        return services().catalogue.refresh().to_wire()
    except Exception as error:  # noqa: BLE001 - its text may be a tool's, and Lambda would log it
        log.error("invocation broke", action=invocation.action, error=type(error).__name__)
        raise InvocationError(type(error).__name__) from None


def read_invocation(event: dict[str, object]) -> Invocation:
    """What is asked for.

    Raises:
        InvocationError: the event is none that the stack sends.
    """
    try:
        return INVOCATION.validate_python(event)
    except ValidationError as error:
        fields = [".".join(map(str, each["loc"])) for each in error.errors(include_input=False)]
        raise InvocationError(f"unreadable: {', '.join(fields)}") from None
