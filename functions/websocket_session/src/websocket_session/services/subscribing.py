"""Subscribing: from now on, or from what the client holds on (docs/adr/0006)."""

from commons.dal import IRepository
from commons.records.connection import Connection, Subscription
from commons.schemas.server_frames import AckFrame
from commons.services.base import BaseService
from commons.services.channel_reader import Shown
from commons.services.connections import ConnectionsService
from commons.services.replay import Replayed, ReplayService
from websocket_session.services.listeners import ListenersService


class SubscribingService(BaseService):
    """Subscribes connections, and acknowledges what is live."""

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        connections: ConnectionsService,
        replay: ReplayService,
        listeners: ListenersService,
    ) -> None:
        super().__init__(repository)
        self._connections = connections
        self._replay = replay
        self._listeners = listeners

    def subscribe(
        self, connection: Connection, channel_id: str, *, after: int | None, request_id: str | None
    ) -> Shown[AckFrame] | None:
        """Subscribes; with `after` the events that follow come first.

        An error ends the subscription that this call began, and none that began after it.

        Args:
            connection: whose subscription it is to be.
            channel_id: of a channel that its user is a member of.
            after: the number of the last event that the client holds; None: from now on.
            request_id: for the ack.

        Returns:
            The ack; None where it was posted, behind the events that came before it.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
            ConflictError: the connection is subscribed to 50 others.
            ConnectionEndedError: nobody is there any more.
            TooManyRequestsError: the gateway does not take the frames fast enough.
        """
        subscription = self._connections.subscribe(
            connection, channel_id, state="live" if after is None else "replaying", after=after
        )
        if subscription.state == "live":
            return self._ack(subscription, request_id)
        try:
            self._bring_up(subscription, after, request_id)
        except BaseException:
            self._connections.end([subscription])
            raise
        return None

    def _bring_up(
        self, subscription: Subscription, after: int | None, request_id: str | None
    ) -> None:
        def last_frame(replayed: Replayed) -> bytes:
            ack = self._ack(subscription, request_id).content
            if after is not None:
                ack = ack.model_copy(
                    update={"through": replayed.through, "has_more": replayed.has_more}
                )
            return ack.to_json().encode()

        # Without `after`, somebody else was bringing it up: from where they had begun.
        start = subscription.live_after or 0
        self._replay.run(subscription, after=start, last_frame=last_frame)

    def _ack(self, subscription: Subscription, request_id: str | None) -> Shown[AckFrame]:
        channel_id = subscription.channel_id
        return self._listeners.online(channel_id, subscription.user_id).map(
            lambda online: AckFrame(request_id=request_id, channel_id=channel_id, online=online)
        )
