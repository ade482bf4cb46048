"""Posting by WebSocket."""

from commons.dal import IRepository
from commons.records.connection import Connection
from commons.schemas.message import PostMessage
from commons.services.base import BaseService
from commons.services.messages import MessagesService, Posted
from commons.services.rate_limit import PostRateService


class SendingService(BaseService):
    """Posts what a connection sends.

    Args:
        post_rate: how fast a user may post.
        messages: appends.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        post_rate: PostRateService,
        messages: MessagesService,
    ) -> None:
        super().__init__(repository)
        self._rate = post_rate
        self._messages = messages

    def send(self, connection: Connection, channel_id: str, message: PostMessage) -> Posted:
        """Appends the message; the same `client_message_id` again answers the first event.

        Raises:
            TooManyRequestsError: the user posts too fast.
            ChannelNotFoundError: no such channel, or the user is no member of it.
            InvalidRequestError: `reply_to` is no message of the channel.
            ConflictError: the `client_message_id` was used for another text or `reply_to`.
        """
        self._rate.take(connection.user_id)
        return self._messages.post(channel_id, connection.as_caller(), message)
