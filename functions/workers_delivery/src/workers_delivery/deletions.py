"""Deleted channels whose subscriptions the API may not have ended."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from commons.clock import now, rfc3339
from commons.schemas.event import ChannelDeleted
from workers_delivery.services.audience import Audience

API_SECONDS: Final = 10.0
"""Within that the call that deleted a channel ends its subscriptions itself, and says so."""


class Deletions:
    """A warm worker's memory: lost, a subscription stays to which nothing is ever sent."""

    def __init__(self) -> None:
        self._deleted_at: dict[str, str] = {}

    def note(self, audiences: Iterable[Audience]) -> None:
        for audience in audiences:
            last = audience.events[-1]
            if audience.listeners and isinstance(last, ChannelDeleted):
                self._deleted_at[audience.channel_id] = last.created_at

    def due(self) -> list[str]:
        """Channels deleted 10 s ago or earlier, until they are `done`."""
        moment = rfc3339(now() - timedelta(seconds=API_SECONDS))
        return [
            channel_id
            for channel_id, deleted_at in self._deleted_at.items()
            if deleted_at <= moment
        ]

    def done(self, channel_id: str) -> None:
        self._deleted_at.pop(channel_id, None)
