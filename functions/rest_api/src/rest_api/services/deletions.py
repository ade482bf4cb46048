"""Deleting messages: the text leaves every item that held it."""

from commons import keys
from commons.clock import now, rfc3339
from commons.dal import Exists, IRepository, Table, Update, UpdateWrite, Write
from commons.errors import ForbiddenError
from commons.records.event import stored_data
from commons.records.message_state import reactions_removal
from commons.schemas.caller import Caller
from commons.schemas.event import MessageDeletedData, MessageEditedData
from commons.services.base import BaseService
from commons.services.event_log import Draft, EventLogService
from commons.services.generations import GenerationsService
from commons.services.history import HistoryService, StoredMessage
from commons.services.membership import MembershipService, still_member


class DeletionsService(BaseService):
    """A deletion is one transaction: the event, the state, and every copy of the text emptied.

    56 items at most: the event, the state, the reactions, the message, its 50 edits, its idempotency
    marker and the member who may.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        generations: GenerationsService | None = None,
    ) -> None:
        super().__init__(repository)
        self._event_log = EventLogService(self.repository)
        self._history = HistoryService(self.repository)
        self._membership = MembershipService(self.repository)
        self._generations = generations or GenerationsService(self.repository)

    def delete(self, channel_id: str, caller: Caller, seq: int) -> None:
        """Redacts the message and cancels the reply to it; again: writes no event.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            MessageNotFoundError: no message has that number.
            ForbiddenError: another's message, and the caller is no owner.
        """
        is_question = False

        def prepare() -> Draft | None:
            nonlocal is_question
            member = self._membership.open_channel(channel_id, caller.user_id).member
            message = self._history.stored_message(channel_id, seq)
            is_question = message.created.sender.kind == "user"
            if message.created.sender.id != caller.user_id and member.role != "owner":
                raise ForbiddenError("Only its sender or an owner may delete a message.")
            if message.deleted:
                return None
            deleted_at = rfc3339(now())
            return Draft(
                sender=caller.as_sender(),
                data=MessageDeletedData(target=seq),
                writes=lambda _seq: [
                    *_redaction(channel_id, message, deleted_at),
                    still_member(member),
                ],
                holds_its_reasons=True,
            )

        self._event_log.append(channel_id, prepare, goes_first=True)
        if is_question:
            # Also of one deleted before: the call that deleted it may not have come this far. A
            # worker that has not claimed the question yet sees that it is redacted.
            self._generations.cancel_replies_to(channel_id, seq)


def _redaction(channel_id: str, message: StoredMessage, deleted_at: str) -> list[Write]:
    created, state = message.created, message.state
    writes = [
        state.write(channel_id, created.seq, {"edited_at": None, "deleted_at": deleted_at}),
        reactions_removal(channel_id, created.seq),
        UpdateWrite(
            Table.CHAT_EVENTS,
            keys.event_key(channel_id, created.seq),
            # `redacted` beside the data is what the index of messages holds of it.
            Update(
                set={
                    "data": stored_data(created.data.emptied()),
                    "redacted": True,
                    "deleted_at": deleted_at,
                }
            ),
            Exists("channel_id"),
        ),
    ]
    writes += [
        UpdateWrite(
            Table.CHAT_EVENTS,
            keys.event_key(channel_id, edit_seq),
            Update(
                set={
                    "data": stored_data(MessageEditedData.emptied(created.seq)),
                    "deleted_at": deleted_at,
                }
            ),
            Exists("channel_id"),
        )
        for edit_seq in state.edits
    ]
    if created.client_message_id is not None:
        writes.append(
            UpdateWrite(
                Table.CHAT_EVENTS,
                keys.idempotency_marker_key(
                    channel_id, created.sender.id, created.client_message_id
                ),
                Update(remove=("salt", "digest")),
                Exists("channel_id"),
            )
        )
    return writes
