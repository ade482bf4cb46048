"""Woken every minute by a rule of EventBridge."""

from functools import cache
from typing import TYPE_CHECKING

from commons.observability import log, metrics, tracer
from workers_timer.composition import build_timers
from workers_timer.services.timers import TimersService
from workers_timer.settings import TimerSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def timers_service() -> TimersService:
    return build_timers(TimerSettings())


@metrics.log_metrics
@log.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(_event: object, _context: "LambdaContext") -> None:
    timers_service().run()
