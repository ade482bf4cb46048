"""The one logger, tracer and metrics registry of a function: a leaf, imported by everyone."""

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)


class _EmfProvider(AmazonCloudWatchEMFProvider):
    """Most calls have nothing to publish: that is no reason for a warning."""

    def flush_metrics(self, raise_on_empty_metrics: bool = False) -> None:
        if self.metric_set or raise_on_empty_metrics:
            super().flush_metrics(raise_on_empty_metrics)


log = Logger()
metrics = Metrics(provider=_EmfProvider(namespace="Chat"))
tracer = Tracer(auto_patch=False)
