"""Replies of the agent as rows: asked for anew, cancelled (docs/adr/0014)."""

from dataclasses import dataclass

from commons import keys
from commons.dal import (
    Compare,
    IRepository,
    NotExists,
    Query,
    SortPrefix,
    Table,
    Update,
    any_of,
)
from commons.dynamodb.exceptions import ConditionFailedError
from commons.errors import ConflictError, InvalidRequestError, MessageNotFoundError
from commons.observability import log
from commons.records.generation import OPEN_STATUSES, ChannelCancels, GenerationRecord
from commons.schemas.event import MessageCreated
from commons.services.base import BaseService
from commons.services.event_log import EventLogService
from commons.services.membership import MembershipService

_IS_OPEN = any_of(*(Compare("status", "=", status) for status in OPEN_STATUSES))


@dataclass(frozen=True, slots=True)
class Regeneration:
    """A reply that was asked for anew."""

    question_seq: int
    generation: int


class GenerationsService(BaseService):
    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        event_log: EventLogService | None = None,
        membership: MembershipService | None = None,
    ) -> None:
        super().__init__(repository)
        self._event_log = event_log or EventLogService(self.repository)
        self._membership = membership or MembershipService(self.repository)

    def latest(self, channel_id: str, question_seq: int) -> GenerationRecord | None:
        """The last generation that a question has, consistently read."""
        page = self.repository.query(
            Query(
                table=Table.CHANNELS,
                partition=keys.channel_partition(channel_id),
                sort=SortPrefix(keys.generation_prefix(question_seq)),
                ascending=False,
                limit=1,
                consistent=True,
            )
        )
        return GenerationRecord.model_validate(page.items[0]) if page.items else None

    def channel_cancels(self, channel_id: str) -> ChannelCancels:
        """The channel's cancels, consistently read."""
        item = self.repository.find(Table.CHANNELS, keys.cancel_key(channel_id), consistent=True)
        return ChannelCancels.model_validate(item or {})

    def cancel(self, channel_id: str, user_id: str, reply_to: int | None = None) -> None:
        """Ends replies, queued or running: to one question, or to all there are by now.

        Each ends in a message with what was written. A reply that has ended already stays.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
            InvalidRequestError: `reply_to` is no message of the channel.
        """
        self._membership.open_channel(channel_id, user_id)
        if reply_to is None:
            self._cancel_through(channel_id, self._event_log.head(channel_id))
            return
        try:
            question = self._event_log.get_message(channel_id, reply_to)
        except MessageNotFoundError:
            raise InvalidRequestError.of("replyTo", "is no message of this channel") from None
        found = self.cancel_replies_to(channel_id, reply_to)
        if not found and question.sender.kind == "user":
            self._cancel_before_claim(channel_id, reply_to)

    def cancel_replies_to(self, channel_id: str, question_seq: int) -> bool:
        """Cancels the reply being written or queued, if any; False: the question has none yet."""
        latest = self.latest(channel_id, question_seq)
        if latest is None:
            return False
        if latest.is_open and not latest.cancelled:
            try:
                self.repository.update(
                    Table.CHANNELS,
                    keys.generation_key(channel_id, question_seq, latest.generation),
                    Update(set={"cancelled": True}),
                    condition=_IS_OPEN,
                )
            except ConditionFailedError:
                log.info("reply ended before it was cancelled", question_seq=question_seq)
        return True

    def regenerate(self, channel_id: str, user_id: str, seq: int) -> Regeneration:
        """Asks for another reply to the question that message `seq` replies to.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
            MessageNotFoundError: `seq` is no message of the channel.
            InvalidRequestError: the message is not an agent's.
            ConflictError: it or its question is deleted, a reply is being written, the agent is
                off.
        """
        channel = self._membership.open_channel(channel_id, user_id).channel
        reply = self._event_log.get_message(channel_id, seq)
        question_seq = reply.data.reply_to
        if reply.sender.kind != "agent" or question_seq is None:
            raise InvalidRequestError.of("seq", "is not a message of the agent")
        question = self._event_log.get_message(channel_id, question_seq)
        self._require_undeleted(reply, question)
        if channel.agent.mode == "off":
            raise ConflictError("The agent of this channel is off.")
        latest = self.latest(channel_id, question_seq)
        if latest is not None and latest.is_open:
            raise ConflictError("A reply to this question is being written.")
        known = max(reply.data.generation or 1, latest.generation if latest is not None else 0)
        regeneration = Regeneration(question_seq, known + 1)
        self._queue(channel_id, user_id, regeneration)
        return regeneration

    def _require_undeleted(self, *messages: MessageCreated) -> None:
        if any(message.data.redacted for message in messages):
            raise ConflictError("The message is deleted.")

    def _queue(self, channel_id: str, user_id: str, regeneration: Regeneration) -> None:
        """Inserts the row whose stream record wakes the dispatcher."""
        record = GenerationRecord(
            channel_id=channel_id,
            question_seq=regeneration.question_seq,
            generation=regeneration.generation,
            status="queued",
            cancels_seen=self.channel_cancels(channel_id).cancels,
            requested_by=user_id,
            correlation_id=log.get_correlation_id(),
        )
        key = keys.generation_key(channel_id, record.question_seq, record.generation)
        try:
            self.repository.put(
                Table.CHANNELS,
                {**record.model_dump(exclude_none=True), **key},
                condition=NotExists("pk"),
            )
        except ConditionFailedError:
            raise ConflictError("A reply to this question is being written.") from None

    def _cancel_through(self, channel_id: str, head: int) -> None:
        key = keys.cancel_key(channel_id)
        not_further = any_of(NotExists("through_seq"), Compare("through_seq", "<=", head))
        try:
            self.repository.update(
                Table.CHANNELS,
                key,
                Update(set={"through_seq": head}, add={"cancels": 1}),
                condition=not_further,
            )
        except ConditionFailedError:
            # A cancel that observed a later head came in between; through its seq is right too.
            self.repository.update(Table.CHANNELS, key, Update(add={"cancels": 1}))

    def _cancel_before_claim(self, channel_id: str, question_seq: int) -> None:
        """Leaves a row for the worker to find, which may not have seen the question yet."""
        record = GenerationRecord(
            channel_id=channel_id,
            question_seq=question_seq,
            generation=1,
            status="unclaimed",
            cancelled=True,
        )
        key = keys.generation_key(channel_id, question_seq, 1)
        try:
            self.repository.put(
                Table.CHANNELS,
                {**record.model_dump(exclude_none=True), **key},
                condition=NotExists("pk"),
            )
        except ConditionFailedError:
            self.cancel_replies_to(channel_id, question_seq)
