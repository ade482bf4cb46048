"""Reading a channel: its messages as they stand, and its log."""

from commons.dal import IRepository
from commons.errors import InvalidRequestError, MalformedRequestError
from commons.pages import that_fit
from commons.records.base import StoredModel
from commons.schemas.caller import Caller
from commons.schemas.event import EventPage
from commons.schemas.message import Message
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown
from commons.services.event_log import EventLogService
from commons.services.history import HistoryService
from rest_api.cursors import CursorCodec
from rest_api.schemas import EventsQuery, MessagePage, MessagesQuery


class _Start(StoredModel):
    """Where a page begins, and the query that its list began with."""

    at: int | None
    before: int | None
    after: int | None


class ReadingService(BaseService):
    """Pages for members. Six calls at most a page, whatever the log's length."""

    def __init__(self, repository: IRepository | None = None, *, cursors: CursorCodec) -> None:
        super().__init__(repository)
        self._cursors = cursors
        self._history = HistoryService(self.repository)
        self._event_log = EventLogService(self.repository)
        self._reader = ChannelReader(self.repository)

    def messages(self, channel_id: str, caller: Caller, query: MessagesQuery) -> Shown[MessagePage]:
        """The page that the query asks for; its cursor goes on in the same direction.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            InvalidRequestError: `before` and `after` at once.
            MalformedRequestError: a cursor of another list or query.
        """
        return self._reader.show(
            channel_id, caller.user_id, lambda: self._message_page(channel_id, query)
        )

    def _message_page(self, channel_id: str, query: MessagesQuery) -> MessagePage:
        start = self._start(channel_id, query)
        ascending = start.after is not None
        page = self._history.page(
            channel_id,
            limit=query.limit,
            before=None if ascending else start.at,
            after=start.at if ascending else None,
        )
        next_cursor = None
        if page.reached is not None:
            reached = start.model_copy(update={"at": page.reached})
            next_cursor = self._cursors.encode(_scope(channel_id), reached)
        return MessagePage(items=page.items, next_cursor=next_cursor)

    def message(self, channel_id: str, caller: Caller, seq: int) -> Shown[Message]:
        """One message as it stands.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            MessageNotFoundError: no message has that number.
        """
        return self._reader.show(
            channel_id, caller.user_id, lambda: self._history.message(channel_id, seq)
        )

    def events(self, channel_id: str, caller: Caller, query: EventsQuery) -> Shown[EventPage]:
        """The log after a number; at most 1 MB of JSON.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
        """
        return self._reader.show(
            channel_id, caller.user_id, lambda: self._event_page(channel_id, query)
        )

    def _event_page(self, channel_id: str, query: EventsQuery) -> EventPage:
        page = self._event_log.read(channel_id, after=query.after, limit=query.limit)
        items = that_fit(page.items)
        if len(items) == len(page.items):
            return page
        return page.model_copy(update={"items": list(items), "has_more": True})

    def _start(self, channel_id: str, query: MessagesQuery) -> _Start:
        given = (query.before, query.after)
        if query.cursor is not None:
            position = self._cursors.decode(_scope(channel_id), query.cursor, _Start)
            if given not in ((None, None), (position.before, position.after)):
                raise MalformedRequestError("The cursor belongs to another query.")
            return position
        if None not in given:
            raise InvalidRequestError.of("after", "cannot be combined with before")
        at = query.before if query.after is None else query.after
        return _Start(at=at, before=query.before, after=query.after)


def _scope(channel_id: str) -> str:
    return f"messages:{channel_id}"
