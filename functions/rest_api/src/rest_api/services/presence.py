"""Who is listening to a channel."""

from collections import Counter

from commons.dal import IRepository
from commons.schemas.caller import Caller
from commons.services.base import BaseService
from commons.services.connections import ConnectionsService
from commons.services.membership import MembershipService
from rest_api.schemas import Presence


class PresenceService(BaseService):
    """Presence as the subscriptions say it: right at once, nothing to keep up to date."""

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        connections: ConnectionsService | None = None,
    ) -> None:
        super().__init__(repository)
        self._connections = connections or ConnectionsService(self.repository)
        self._membership = MembershipService(self.repository)

    def of_channel(self, channel_id: str, caller: Caller) -> list[Presence]:
        """Users with a live subscription to the channel, by id.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
        """
        self._membership.open_channel(channel_id, caller.user_id)
        counts = Counter(
            subscription.user_id for subscription in self._connections.subscriptions(channel_id)
        )
        return [
            Presence(user_id=user_id, connections=connections)
            for user_id, connections in sorted(counts.items())
        ]
