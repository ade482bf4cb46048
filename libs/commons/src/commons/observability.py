"""The one logger, tracer and metrics registry of a function: a leaf, imported by everyone."""

from aws_lambda_powertools import Logger, Metrics, Tracer

log = Logger()
metrics = Metrics(namespace="Chat")
tracer = Tracer(auto_patch=False)
