"""The channels of a session: what arrives finds its channel."""

from collections.abc import Mapping
from typing import Final

from chat_client.errors import ChatError, NotSubscribedError, SessionClosedError
from chat_client.frames import ChannelFrame, EventsFrame
from chat_client.models import Event, Wire
from chat_client.settings import SessionSettings
from chat_client.subscription import Subscription

ENDED_KEPT: Final = 50
"""Ended subscriptions whose events may still be read."""


class Channels:
    """All subscriptions by channel id; the link tells it what happens."""

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        self._by_id: dict[str, Subscription] = {}

    def add(self, channel_id: str, after: int) -> Subscription:
        ended = [name for name, each in self._by_id.items() if each.has_ended]
        for name in ended[:-ENDED_KEPT]:
            del self._by_id[name]
        subscription = Subscription(
            channel_id,
            after=after,
            events=self._settings.buffered_events,
            size=self._settings.buffered_bytes,
        )
        self._by_id[channel_id] = subscription
        return subscription

    def find(self, channel_id: str) -> Subscription | None:
        return self._by_id.get(channel_id)

    def require(self, channel_id: str) -> Subscription:
        """Raises NotSubscribedError where there is none."""
        subscription = self._by_id.get(channel_id)
        if subscription is None:
            raise NotSubscribedError(f"Subscribe to channel {channel_id} first.")
        return subscription

    def remove(self, subscription: Subscription) -> None:
        if self._by_id.get(subscription.channel_id) is subscription:
            del self._by_id[subscription.channel_id]

    def opened(self) -> None:
        for subscription in self._by_id.values():
            subscription.wake.set()

    def lost(self) -> None:
        for subscription in self._by_id.values():
            subscription.log.detached()

    def ended(self, error: ChatError) -> None:
        """Readers get the error, unless it was the session's own user who ended it."""
        for_readers = None if isinstance(error, SessionClosedError) else error
        for subscription in self._by_id.values():
            subscription.end(for_readers)

    def take(self, frame: Wire) -> None:
        if isinstance(frame, EventsFrame):
            self._take_events(frame)
        elif isinstance(frame, ChannelFrame):
            subscription = self._by_id.get(frame.channel_id)
            if subscription is not None:
                subscription.take(frame)

    def live_channels(self) -> list[str]:
        return [name for name, each in self._by_id.items() if each.log.is_live]

    def compare(self, channels: list[str], heads: Mapping[str, int]) -> None:
        """A channel that the server does not name is not subscribed to: once more, then."""
        for channel_id in channels:
            subscription = self._by_id.get(channel_id)
            if subscription is None:
                continue
            if channel_id in heads:
                subscription.log.saw(heads[channel_id])
            else:
                subscription.log.detached()
            subscription.wake.set()

    def _take_events(self, frame: EventsFrame) -> None:
        by_channel: dict[str, list[Event]] = {}
        for event in frame.events:
            by_channel.setdefault(event.channel_id, []).append(event)
        for channel_id, events in by_channel.items():
            subscription = self._by_id.get(channel_id)
            if subscription is not None:
                subscription.take_push(events, frame.size * len(events) // len(frame.events))
