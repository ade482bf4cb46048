"""Deleting messages: the text leaves every item that held it."""

from dataclasses import dataclass

from commons import keys
from commons.clock import epoch_seconds, now, rfc3339
from commons.dal import Exists, IRepository, Table, Update, UpdateWrite, Write
from commons.errors import ForbiddenError
from commons.records.event import stored_data
from commons.records.message_state import reactions_removal
from commons.records.timer import TimerRecord
from commons.schemas.caller import Caller
from commons.schemas.event import MessageCreated, MessageDeletedData, MessageEditedData
from commons.services.base import BaseService
from commons.services.event_log import Draft, EventLogService
from commons.services.generations import GenerationsService
from commons.services.history import HistoryService, StoredMessage
from commons.services.membership import MembershipService, still_member
from commons.services.tool_redaction import ToolRedactionService


class DeletionsService(BaseService):
    """A deletion is one transaction: the event, the state, and every copy of the text emptied.

    57 items at most: the event, the state, the reactions, the message, its 50 edits, its idempotency
    marker, the member who may, and the timer of what comes after. That is what tools were asked and
    said for it, which may be more than one transaction holds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        generations: GenerationsService | None = None,
        tools: ToolRedactionService | None = None,
    ) -> None:
        super().__init__(repository)
        self._event_log = EventLogService(self.repository)
        self._history = HistoryService(self.repository)
        self._membership = MembershipService(self.repository)
        self._generations = generations or GenerationsService(self.repository)
        self._tools = tools or ToolRedactionService(self.repository)

    def delete(self, channel_id: str, caller: Caller, seq: int) -> None:
        """Redacts the message and cancels the reply to it; again: writes no event.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            MessageNotFoundError: no message has that number.
            ForbiddenError: another's message, and the caller is no owner.
        """
        asked = _Asked(seq)

        def prepare() -> Draft | None:
            nonlocal asked
            member = self._membership.open_channel(channel_id, caller.user_id).member
            message = self._history.stored_message(channel_id, seq)
            asked = _asked(message.created)
            if message.created.sender.id != caller.user_id and member.role != "owner":
                raise ForbiddenError("Only its sender or an owner may delete a message.")
            if message.deleted:
                return None
            deleted_at = rfc3339(now())
            emptying = TimerRecord.of_deleted_message(
                channel_id, asked.question_seq, asked.generation, epoch_seconds()
            )
            return Draft(
                sender=caller.as_sender(),
                data=MessageDeletedData(target=seq),
                writes=lambda _seq: [
                    *_redaction(channel_id, message, deleted_at),
                    still_member(member),
                    emptying.write(),
                ],
                holds_its_reasons=True,
            )

        self._event_log.append(channel_id, prepare, goes_first=True)
        # Also of one deleted before: the call that deleted it may not have come this far. A worker
        # that has not claimed the question yet sees that it is redacted.
        if asked.generation is None:
            self._generations.cancel_replies_to(channel_id, seq, by=caller.as_sender())
        self._tools.empty(channel_id, asked.question_seq, asked.generation)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a message has to do with tools: it asked, or it is reply `generation` to what did."""

    question_seq: int
    generation: int | None = None


def _asked(message: MessageCreated) -> _Asked:
    question_seq = message.data.reply_to
    if message.sender.kind == "user" or question_seq is None:
        return _Asked(message.seq)
    return _Asked(question_seq, message.data.generation)


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
