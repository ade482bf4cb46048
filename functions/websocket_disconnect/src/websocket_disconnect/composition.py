"""Puts the function together: the one place that knows what it needs."""

from functools import cache

from commons.services import base
from commons.services.connections import ConnectionsService
from websocket_disconnect.services.forgetting import ForgettingService


@cache
def forgetting_service() -> ForgettingService:
    """Of a warm function."""
    storage = base.default_repository()
    return ForgettingService(storage, connections=ConnectionsService(storage))
