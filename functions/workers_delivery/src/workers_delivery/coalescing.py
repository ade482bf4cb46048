"""A batch's events, packed into as few frames a connection as fit, each serialised once."""

from collections.abc import Iterable, Mapping, Sequence

from commons.realtime.broadcaster import Post
from commons.realtime.encoded_frames import MAX_EVENT_BYTES, event_json, pack_events
from commons.schemas.event import Event
from workers_delivery.schemas import ParkedRange
from workers_delivery.services.audience import Audience, Listener

type _Share = tuple[str, int, int | None]
"""What a listener is due of a channel: equal shares are equal bytes."""


class Coalescer:
    """Composes the posts of one batch.

    Attributes:
        oversized: events that no frame can carry.
    """

    def __init__(self, audiences: Sequence[Audience]) -> None:
        self._audiences = {audience.channel_id: audience for audience in audiences}
        self._serialised: dict[tuple[str, int], bytes] = {}
        self._frames: dict[tuple[_Share, ...], tuple[bytes, ...]] = {}
        self.oversized: dict[tuple[str, int], ParkedRange] = {}

    def posts(
        self,
        listeners: Mapping[str, Iterable[Listener]],
        *,
        probed: frozenset[str] = frozenset(),
    ) -> dict[str, Post]:
        """One post for each connection that is due anything, by connection.

        Args:
            listeners: by connection.
            probed: connections to be tried once only.
        """
        composed: dict[str, Post] = {}
        for connection_id, some in listeners.items():
            shares: list[_Share] = []
            connected_at = 0
            for listener in some:
                row = listener.subscription
                connected_at = row.connected_at
                shares.append((row.channel_id, listener.after, listener.through))
            frames = self._pack(tuple(shares))
            if frames:
                composed[connection_id] = Post(
                    connection_id, frames, connected_at, is_probe=connection_id in probed
                )
        return composed

    def _pack(self, shares: tuple[_Share, ...]) -> tuple[bytes, ...]:
        if shares not in self._frames:
            self._frames[shares] = pack_events(
                serialised
                for channel_id, after, through in shares
                for event in self._audiences[channel_id].events_between(after, through)
                if (serialised := self._serialise(event)) is not None
            )
        return self._frames[shares]

    def _serialise(self, event: Event) -> bytes | None:
        """None for an event that fits no frame."""
        key = (event.channel_id, event.seq)
        if key not in self._serialised:
            self._serialised[key] = event_json(event)
        serialised = self._serialised[key]
        if len(serialised) <= MAX_EVENT_BYTES:
            return serialised
        self.oversized[key] = ParkedRange(
            channel_id=event.channel_id, from_seq=event.seq, to_seq=event.seq, reason="too_large"
        )
        return None
