"""Replies of the agent as rows: asked for, asked for anew, listed, cancelled (docs/adr/0027)."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from commons import keys
from commons.clock import epoch_milliseconds, rfc3339
from commons.dal import (
    ConditionCheck,
    Exists,
    IRepository,
    NotExists,
    PutWrite,
    Query,
    SortPrefix,
    Table,
    Update,
    Write,
    any_of,
)
from commons.dal.interface import Compare
from commons.dynamodb.exceptions import ConditionFailedError, TransactionCanceledError
from commons.errors import (
    ChannelNotFoundError,
    ConflictError,
    InvalidRequestError,
    MessageNotFoundError,
)
from commons.observability import log
from commons.records.channel import AgentRecord, ChannelRecord
from commons.records.generation import (
    WORTH_ANSWERING_MILLISECONDS,
    ChannelCancels,
    EndedGeneration,
    OpenGeneration,
)
from commons.records.timer import TimerRecord
from commons.schemas.event import MessageCreated, Sender
from commons.services.base import BaseService
from commons.services.event_log import EventLogService
from commons.services.generation_endings import (
    Ending,
    GenerationEndingsService,
    GenerationLostError,
)
from commons.services.membership import MembershipService
from commons.services.spend import owed

CLOSING_SECONDS: Final = 8.0
"""A cancel ends queued replies itself before it is answered, so that they are in the log by then. Each
takes some 20 ms on AWS, half a second where storage is slow. What it does not come to within this is
left to the workers, who ask no model for it, but may be busy for minutes."""

_MENTION: Final = re.compile(r"(?<!\w)@agent(?!\w)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Regeneration:
    """A reply that was asked for anew."""

    question_seq: int
    generation: int


class GenerationsService(BaseService):
    """Asks for replies and cancels them.

    Args:
        endings: ends what is cancelled before any worker took it.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        event_log: EventLogService | None = None,
        membership: MembershipService | None = None,
        endings: GenerationEndingsService | None = None,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository)
        self._event_log = event_log or EventLogService(self.repository)
        self._membership = membership or MembershipService(self.repository)
        self._endings = endings or GenerationEndingsService(
            self.repository, event_log=self._event_log
        )
        self._clock = clock

    def ask(
        self, channel_id: str, question_seq: int, user_id: str, *, correlation_id: str | None
    ) -> bool:
        """Opens the first reply to a question; False where it has ended already.

        A question that is asked again, because its record came twice, stays as it is.
        """
        row = self._new_row(channel_id, question_seq, 1, user_id, correlation_id=correlation_id)
        try:
            self.repository.transact(self._opening(row))
        except TransactionCanceledError as error:
            has_ended, *_ = (reason.condition_failed for reason in error.reasons)
            return not has_ended
        return True

    def find_open(self, channel_id: str, question_seq: int) -> OpenGeneration | None:
        """The reply that is being asked for or written, consistently read."""
        page = self.repository.query(
            Query(
                table=Table.CHANNELS,
                partition=keys.open_generations_partition(channel_id),
                sort=SortPrefix(keys.generation_prefix(question_seq)),
                limit=1,
                consistent=True,
            )
        )
        return OpenGeneration.model_validate(page.items[0]) if page.items else None

    def find(self, channel_id: str, question_seq: int, generation: int) -> OpenGeneration | None:
        """One reply while it is open, consistently read."""
        key = keys.open_generation_key(channel_id, question_seq, generation)
        item = self.repository.find(Table.CHANNELS, key, consistent=True)
        return None if item is None else OpenGeneration.model_validate(item)

    def find_last_ended(self, channel_id: str, question_seq: int) -> EndedGeneration | None:
        """The last reply, or failure, that a question has, consistently read."""
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
        return EndedGeneration.model_validate(page.items[0]) if page.items else None

    def list_open(self, channel_id: str) -> list[OpenGeneration]:
        """The replies that no event has ended yet, by question, consistently read.

        The caller makes sure that whoever asks may see them.
        """
        query = Query(
            table=Table.CHANNELS,
            partition=keys.open_generations_partition(channel_id),
            consistent=True,
            attributes=_SHOWN,
        )
        return [OpenGeneration.model_validate(item) for item in self.repository.iterate(query)]

    def cancel(self, channel_id: str, user_id: str, reply_to: int | None = None) -> None:
        """Ends replies, queued or running: to one question, or to all there are by now.

        Each ends in a message with what was written. A reply that has ended already stays. For a
        message that nobody is going to reply to nothing is written.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
            InvalidRequestError: `reply_to` is no message of the channel.
        """
        opened = self._membership.open_channel(channel_id, user_id)
        channel, by = opened.channel, opened.member.as_sender()
        if reply_to is None:
            head = self._event_log.head(channel_id)
            cancels = self._cancel_through(channel_id, head, by)
            self._close_unwritten(channel_id, cancels, by)
            return
        try:
            question = self._event_log.get_message(channel_id, reply_to)
        except MessageNotFoundError:
            raise InvalidRequestError.of("replyTo", "is no message of this channel") from None
        if self.cancel_replies_to(channel_id, reply_to, by=by):
            return
        if not self._is_perhaps_undispatched(channel, question):
            return
        if self.find_last_ended(channel_id, reply_to) is None:
            self._cancel_before_dispatch(question, by)

    def cancel_replies_to(
        self, channel_id: str, question_seq: int, *, by: Sender | None = None
    ) -> bool:
        """Cancels the reply being written, queued or waiting; False: there is none that is open."""
        row = self.find_open(channel_id, question_seq)
        if row is None:
            return False
        cancelled = Update(set={"cancelled": True, **_cancelled_by(by)})
        try:
            item = self.repository.update(
                Table.CHANNELS, row.key, cancelled, condition=Exists("pk")
            )
        except ConditionFailedError:
            log.info("reply ended before it was cancelled", question_seq=question_seq)
            return True
        self._close(OpenGeneration.model_validate(item), by)
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
        if reply.data.redacted or question.data.redacted:
            raise ConflictError("The message is deleted.")
        if channel.agent.mode == "off":
            raise ConflictError("The agent of this channel is off.")
        if self.find_open(channel_id, question_seq) is not None:
            raise ConflictError("A reply to this question is being written.")
        ended = self.find_last_ended(channel_id, question_seq)
        known = max(reply.data.generation or 1, ended.generation if ended is not None else 0)
        row = self._new_row(
            channel_id,
            question_seq,
            known + 1,
            user_id,
            correlation_id=log.get_correlation_id(),
            cancels_seen=self._channel_cancels(channel_id).cancels,
        )
        try:
            self.repository.transact(self._opening(row, asked_anew=True))
        except TransactionCanceledError:
            raise ConflictError("A reply to this question is being written.") from None
        return Regeneration(question_seq, row.generation)

    def _new_row(
        self,
        channel_id: str,
        question_seq: int,
        generation: int,
        user_id: str,
        *,
        correlation_id: str | None,
        cancels_seen: int = 0,
    ) -> OpenGeneration:
        return OpenGeneration(
            channel_id=channel_id,
            question_seq=question_seq,
            generation=generation,
            status="queued",
            asked_at=self._clock(),
            requested_by=user_id,
            cancels_seen=cancels_seen,
            correlation_id=correlation_id,
        )

    def _opening(self, row: OpenGeneration, *, asked_anew: bool = False) -> list[Write]:
        """The row, unless it is there or has ended, and who looks after it if nobody does."""
        # The fence is compared, so it is stored though it is the default; `cancelled` is only set.
        stored = row.model_dump(exclude_none=True, exclude_defaults=True)
        item = {**row.key, **stored, "fence": row.fence}
        if asked_anew:
            # By this the stream wakes the dispatcher, which has queued every other row itself.
            item["wakes"] = "dispatcher"
        ended_key = keys.generation_key(row.channel_id, row.question_seq, row.generation)
        watch = TimerRecord.of_generation(row, now=row.asked_at // 1_000)
        return [
            ConditionCheck(Table.CHANNELS, ended_key, NotExists("pk")),
            PutWrite(Table.CHANNELS, item, NotExists("pk")),
            watch.write(),
        ]

    def _channel_cancels(self, channel_id: str) -> ChannelCancels:
        item = self.repository.find(Table.CHANNELS, keys.cancel_key(channel_id), consistent=True)
        return ChannelCancels.model_validate(item or {})

    def _cancel_through(self, channel_id: str, head: int, by: Sender) -> ChannelCancels:
        key = keys.cancel_key(channel_id)
        not_further = any_of(NotExists("through_seq"), Compare("through_seq", "<=", head))
        try:
            item = self.repository.update(
                Table.CHANNELS,
                key,
                Update(set={"through_seq": head, **_cancelled_by(by)}, add={"cancels": 1}),
                condition=not_further,
            )
        except ConditionFailedError:
            # A cancel that observed a later head came in between; through its seq is right too.
            item = self.repository.update(Table.CHANNELS, key, Update(add={"cancels": 1}))
        return ChannelCancels.model_validate(item)

    def _close_unwritten(self, channel_id: str, cancels: ChannelCancels, by: Sender) -> None:
        deadline = time.monotonic() + CLOSING_SECONDS
        for row in self._unwritten(channel_id, cancels):
            if time.monotonic() >= deadline:
                log.info("cancelled replies are left to the workers")
                return
            self._close(row, by)

    def _unwritten(self, channel_id: str, cancels: ChannelCancels) -> Iterator[OpenGeneration]:
        """The cancelled replies that no worker writes; those that none ever had come first."""
        rows = [row for row in self.list_open(channel_id) if row.is_cancelled(cancels)]
        unclaimed = [row for row in rows if not row.fence]
        yield from unclaimed
        if len(unclaimed) == len(rows):
            return
        # Listed again: a worker may have given one back meanwhile, or its lease may have run out.
        now = self._clock()
        for row in self.list_open(channel_id):
            if row.fence and not row.is_written(now) and row.is_cancelled(cancels):
                whole = self.find(channel_id, row.question_seq, row.generation)
                if whole is not None:
                    yield whole

    def _close(self, row: OpenGeneration, by: Sender | None) -> None:
        """Ends a cancelled reply that no worker has; a living worker sees it itself."""
        if row.is_written(self._clock()):
            return
        cancelled = Ending(
            text=row.text, finish_reason="cancelled", usage=row.usage, cost=owed(row)
        )
        try:
            if row.fence:
                self._endings.end(row, cancelled, by=by)
            else:
                self._endings.cancel_unclaimed(row)
        except (GenerationLostError, ChannelNotFoundError):
            log.info("reply was taken or ended meanwhile", question_seq=row.question_seq)

    def _is_perhaps_undispatched(self, channel: ChannelRecord, message: MessageCreated) -> bool:
        """Whether the dispatcher may not have seen the message yet, and will take it for a question.

        The dispatcher judges the text as it was posted; an edit changes nothing. What was posted
        before the agent's settings changed may have been no question then, and after the time that
        a question is worth answering the stream hands it to no dispatcher any more.
        """
        if message.sender.kind != "user" or message.data.redacted:
            return False
        if message.seq < channel.agent_mode_changed_seq:
            return False
        oldest = (self._clock() - WORTH_ANSWERING_MILLISECONDS) / 1_000
        if message.created_at < rfc3339(datetime.fromtimestamp(oldest, UTC)):
            return False
        return is_addressed(channel.agent, message.data.text)

    def _cancel_before_dispatch(self, question: MessageCreated, by: Sender) -> None:
        """The dispatcher may not have seen the question yet: it finds a reply that has ended."""
        channel_id, question_seq = question.channel_id, question.seq
        self.ask(
            channel_id, question_seq, question.sender.id, correlation_id=log.get_correlation_id()
        )
        self.cancel_replies_to(channel_id, question_seq, by=by)


def _cancelled_by(by: Sender | None) -> dict[str, str]:
    if by is None:
        return {}
    name = {} if by.name is None else {"cancelled_by_name": by.name}
    return {"cancelled_by": by.id, **name}


def is_addressed(agent: AgentRecord, text: str) -> bool:
    """Whether the agent answers a text: in mode `mention` only one with the word `@agent`."""
    match agent.mode:
        case "always":
            return True
        case "mention":
            return _MENTION.search(text) is not None
        case _:
            return False


_SHOWN: Final = (
    "channel_id",
    "question_seq",
    "generation",
    "status",
    "asked_at",
    "requested_by",
    "cancels_seen",
    "fence",
    "lease_until",
)
"""Never the text: a list of many long replies would not fit a page. What was never claimed has none
of the others."""
