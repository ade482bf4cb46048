"""Editing one's own messages."""

from commons.clock import now, rfc3339
from commons.dal import IRepository
from commons.errors import ConflictError, ForbiddenError
from commons.schemas.caller import Caller
from commons.schemas.event import MessageEditedData
from commons.schemas.message import Message
from commons.schemas.types import MAX_EDITS
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown
from commons.services.event_log import Draft, EventLogService
from commons.services.history import HistoryService
from commons.services.membership import MembershipService, still_member


class EditsService(BaseService):
    """An edit is one transaction: the event, and the message's state as its version was."""

    def __init__(self, repository: IRepository | None = None) -> None:
        super().__init__(repository)
        self._event_log = EventLogService(self.repository)
        self._history = HistoryService(self.repository)
        self._membership = MembershipService(self.repository)
        self._reader = ChannelReader(self.repository)

    def edit(self, channel_id: str, caller: Caller, seq: int, text: str) -> Shown[Message]:
        """Gives the message another text; the same text writes no event.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            MessageNotFoundError: no message has that number.
            ForbiddenError: another's message.
            ConflictError: it was deleted, or edited 50 times.
        """

        def prepare() -> Draft | None:
            member = self._membership.open_channel(channel_id, caller.user_id).member
            message = self._history.stored_message(channel_id, seq)
            if message.created.sender.id != caller.user_id:
                raise ForbiddenError("Only its sender may edit a message.")
            if message.deleted:
                raise ConflictError("The message was deleted.")
            if message.text == text:
                return None
            state = message.state
            if len(state.edits) >= MAX_EDITS:
                raise ConflictError(f"A message is edited {MAX_EDITS} times at most.")
            edited_at = rfc3339(now())
            return Draft(
                sender=caller.as_sender(),
                data=MessageEditedData(target=seq, text=text),
                writes=lambda event_seq: [
                    state.write(
                        channel_id,
                        seq,
                        {"edited_at": edited_at, "edits": (*state.edits, event_seq)},
                    ),
                    still_member(member),
                ],
                holds_its_reasons=True,
            )

        self._event_log.append(channel_id, prepare, goes_first=True)
        return self._reader.show(
            channel_id, caller.user_id, lambda: self._history.message(channel_id, seq)
        )
