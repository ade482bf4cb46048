"""The one logger, tracer and metrics registry of a function: a leaf, imported by everyone."""

import logging
import os
from collections.abc import Callable
from functools import cache, wraps
from typing import cast

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit, single_metric
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)
from aws_lambda_powertools.shared.functions import strtobool


class _EmfProvider(AmazonCloudWatchEMFProvider):
    """Names the stage of every metric; two stages of an account have the same services.

    Most calls have nothing to publish: that is no reason for a warning.
    """

    def flush_metrics(self, raise_on_empty_metrics: bool = False) -> None:
        if self.metric_set or raise_on_empty_metrics:
            self.add_dimension(name="stage", value=os.environ.get("STAGE", "dev"))
            super().flush_metrics(raise_on_empty_metrics)


class _TracerOnDemand:
    """Powertools' tracer, built by the first call that is traced.

    Building it imports the X-Ray SDK, which costs half of what `import boto3` and a client do.
    """

    def capture_lambda_handler[**Call, Answer](
        self, *, capture_response: bool
    ) -> Callable[[Callable[Call, Answer]], Callable[Call, Answer]]:
        """As Powertools' decorator of that name."""

        def decorate(handler: Callable[Call, Answer]) -> Callable[Call, Answer]:
            @cache
            def traced() -> Callable[Call, Answer]:
                tracer = Tracer(auto_patch=False)
                return cast(
                    "Callable[Call, Answer]",
                    tracer.capture_lambda_handler(handler, capture_response=capture_response),
                )

            @wraps(handler)
            def decorated(*args: Call.args, **kwargs: Call.kwargs) -> Answer:
                return (traced() if _is_tracing() else handler)(*args, **kwargs)

            return decorated

        return decorate


def _is_tracing() -> bool:
    """In a Lambda whose stack wants traces; Powertools decides by the same two variables."""
    is_disabled = strtobool(os.environ.get("POWERTOOLS_TRACE_DISABLED") or "false")
    return "LAMBDA_TASK_ROOT" in os.environ and not is_disabled


log = Logger()
# Powertools prefers the platform's level to the stack's, in its own `setLevel` too. The platform's has
# to stay INFO: it drops whole lines, and a line of metrics counts as INFO.
logging.getLogger(log.service).setLevel(os.environ.get("POWERTOOLS_LOG_LEVEL") or "INFO")
metrics = Metrics(provider=_EmfProvider(namespace="Chat"))
tracer = _TracerOnDemand()


def count_for(service: str, name: str) -> None:
    """Counts in the name of another function: its alarm hears what is done in its stead."""
    stage = os.environ.get("STAGE", "dev")
    dimensions = {"service": service, "stage": stage}
    with single_metric(name=name, unit=MetricUnit.Count, value=1, default_dimensions=dimensions):
        pass


def count_unhandled() -> None:
    """Counts a fault of ours that is answered instead of raised.

    Lambda counts what is raised; an alarm watches both (`Unhandled`).
    """
    metrics.add_metric(name="Unhandled", unit="Count", value=1)
