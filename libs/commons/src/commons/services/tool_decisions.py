"""Who says whether a call is made: people who hold the right, or else the clock."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import (
    Compare,
    Condition,
    ConditionCheck,
    Exists,
    IRepository,
    Item,
    NotExists,
    Table,
    Update,
    UpdateWrite,
    Write,
    all_of,
    any_of,
)
from commons.dynamodb.exceptions import ConditionFailedError
from commons.errors import (
    CallNotFoundError,
    ChannelNotFoundError,
    ConflictError,
    DecidedBeforeError,
    ForbiddenError,
)
from commons.ids import CALL_ID_PATTERN
from commons.observability import metrics
from commons.records.channel import ChannelRecord
from commons.records.generation import OpenGeneration
from commons.records.tool import ToolCallRecord, may_decide, rule_in_force
from commons.schemas.caller import Caller
from commons.schemas.event import Decided, Event, Sender, ToolDecidedData
from commons.schemas.tool import Decision
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown, own
from commons.services.event_log import Draft, EventLogService
from commons.services.generation_hold import SYSTEM, GenerationLostError, still_held
from commons.services.membership import MembershipService, OpenChannel, still_member
from commons.services.tool_call_rows import ToolCallRows

_DECIDED: Final[dict[Decision, Decided]] = {"approve": "approved", "deny": "denied"}


class _DecidedAlikeError(Exception):
    """The same person has decided the same: `seq` says so."""

    def __init__(self, seq: int) -> None:
        super().__init__("decided alike")
        self.seq = seq


class ToolDecisionsService(BaseService):
    """A call is decided once: by one conditional write, with the event that says so.

    Args:
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        event_log: EventLogService | None = None,
        membership: MembershipService | None = None,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository)
        self._event_log = event_log or EventLogService(self.repository)
        self._membership = membership or MembershipService(self.repository)
        self._reader = ChannelReader(self.repository)
        self._rows = ToolCallRows(self.repository)
        self._clock = clock

    def decide(
        self,
        channel_id: str,
        caller: Caller,
        call_id: str,
        decision: Decision,
        arguments_digest: str | None = None,
    ) -> Shown[Event]:
        """Approves or denies a call; the same by the same person again writes no event.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            CallNotFoundError: no such call was requested in the channel.
            ForbiddenError: the caller has not the right that the call's rule asks for.
            DecidedBeforeError: it was decided before, by somebody else or otherwise.
            ConflictError: the digest is not that of the call's arguments, the question was
                deleted, or the channel no longer allows the tool.
        """
        decided = _DECIDED[decision]
        requested_at = 0

        def prepare() -> Draft:
            nonlocal requested_at
            opened = self._membership.open_channel(channel_id, caller.user_id)
            call = self._requested(channel_id, call_id)
            self._judge(opened, call, caller, decided, arguments_digest)
            requested_at = call.requested_at
            checks = [
                still_member(opened.member),
                same_settings(opened.channel),
                _question_is_there(call),
            ]
            return self._draft(call, decided, caller.as_sender(), checks)

        try:
            event = self._event_log.append(channel_id, prepare, goes_first=True)
        except _DecidedAlikeError as alike:
            seq = alike.seq
            return self._reader.show(
                channel_id, caller.user_id, lambda: self._event_log.get(channel_id, seq)
            )
        latency = max(self._clock() - requested_at, 0)
        metrics.add_metric(name="ApprovalLatency", unit="Milliseconds", value=latency)
        return own(event)

    def expire(self, channel_id: str, call_id: str) -> None:
        """Ends the wait for a decision where its time is over; again: does nothing.

        Nobody is told that of a call that nobody was told of, nor in a channel that was deleted.
        """
        call = self._rows.find(channel_id, call_id)
        if call is None or not self._is_overdue(call):
            return
        if not call.is_told and self._expires_silently(call, NotExists("requested_seq")):
            return

        def prepare() -> Draft | None:
            current = self._rows.find(channel_id, call_id)
            if current is None or not self._is_overdue(current):
                return None
            return self._draft(current, "expired", SYSTEM, [])

        try:
            self._event_log.append(channel_id, prepare)
        except ChannelNotFoundError:
            self._expires_silently(call, Exists("pk"))

    def cancel(self, row: OpenGeneration, call: ToolCallRecord, by: Sender) -> None:
        """Ends the wait with the reply; of what nobody was told of, nobody is told this either.

        Raises:
            GenerationLostError: somebody else holds the reply, or has ended it.
            ChannelNotFoundError: the channel was deleted.
        """

        def lost() -> None:
            raise GenerationLostError

        def prepare() -> Draft | None:
            current = self._rows.find(row.channel_id, call.call_id)
            if current is None or not current.is_pending:
                return None
            return self._draft(current, "cancelled", by, [still_held(row)], on_check=lost)

        self._event_log.append(row.channel_id, prepare, goes_first=True)

    def _requested(self, channel_id: str, call_id: str) -> ToolCallRecord:
        is_id = re.match(CALL_ID_PATTERN, call_id)
        call = self._rows.find(channel_id, call_id) if is_id else None
        if call is None or not call.is_told:
            raise CallNotFoundError
        if not self._is_overdue(call):
            return call
        # The clock comes first, though the timer has not.
        self.expire(channel_id, call_id)
        return self._rows.find(channel_id, call_id) or call

    def _expires_silently(self, call: ToolCallRecord, condition: Condition) -> bool:
        expired = Update(set={"status": "expired", "decided_at": self._clock()})
        is_pending = all_of(Compare("status", "=", "requested"), condition)
        try:
            self.repository.update(Table.CHANNELS, call.key, expired, condition=is_pending)
        except ConditionFailedError:
            return False
        return True

    def _is_overdue(self, call: ToolCallRecord) -> bool:
        return call.is_pending and call.expires_at <= self._clock()

    def _judge(
        self,
        opened: OpenChannel,
        call: ToolCallRecord,
        caller: Caller,
        decided: Decided,
        digest: str | None,
    ) -> None:
        rule = rule_in_force(call.tool, call.approval, opened.channel.agent)
        before = decision_of(call)
        is_again = (before, call.decided_by) == (decided, caller.user_id)
        if not is_again and call.approval != "none":
            _require_right(opened, call, rule or call.approval)
        if digest is not None and call.digest is not None and digest.lower() != call.digest:
            raise ConflictError("The call has other arguments than those of the digest.")
        if is_again:
            raise _DecidedAlikeError(call.decided_seq)
        if before is not None:
            raise DecidedBeforeError(before, call.decided_by)
        if rule is None and decided == "approved":
            raise ConflictError("The channel no longer allows this tool.")
        question = self._event_log.get_message(call.channel_id, call.question_seq)
        if question.data.redacted:
            raise ConflictError("The question was deleted.")

    def _draft(
        self,
        call: ToolCallRecord,
        decided: Decided,
        sender: Sender,
        checks: Sequence[Write],
        *,
        on_check: Callable[[], None] = lambda: None,
    ) -> Draft:
        changes: dict[str, object] = {"status": decided, "decided_at": self._clock()}
        if sender.kind == "user":
            changes["decided_by"] = sender.id

        def writes(seq: int) -> list[Write]:
            update = Update(set={**changes, "decided_seq": seq})
            is_pending = all_of(Compare("status", "=", "requested"), Exists("requested_seq"))
            return [UpdateWrite(Table.CHANNELS, call.key, update, is_pending), *checks]

        def judge(position: int, _item: Item | None) -> None:
            if position:
                on_check()

        data = ToolDecidedData(
            target=call.question_seq,
            generation=call.generation,
            call_id=call.call_id,
            decision=decided,
        )
        return Draft(
            sender=sender, data=data, writes=writes, on_rejected=judge, holds_its_reasons=True
        )


def decision_of(call: ToolCallRecord) -> str | None:
    """The decision that stands; None where there is none yet. What was begun was approved."""
    if call.is_pending:
        return None
    return call.status if call.status in {"denied", "expired", "cancelled"} else "approved"


def same_settings(channel: ChannelRecord) -> Write:
    """The channel is there, and its agent may call what it might when `channel` was read."""
    version = channel.settings_version
    unchanged: Condition = Compare("settings_version", "=", version)
    if version == 0:
        unchanged = any_of(NotExists("settings_version"), unchanged)
    return ConditionCheck(
        Table.CHANNELS,
        keys.channel_key(channel.channel_id),
        all_of(Exists("pk"), unchanged, NotExists("deleted")),
    )


def _question_is_there(call: ToolCallRecord) -> Write:
    key = keys.event_key(call.channel_id, call.question_seq)
    return ConditionCheck(Table.CHAT_EVENTS, key, NotExists("redacted"))


def _require_right(opened: OpenChannel, call: ToolCallRecord, rule: str) -> None:
    member = opened.member
    if not may_decide(
        rule, user_id=member.user_id, role=member.role, requested_by=call.requested_by
    ):
        raise ForbiddenError("Somebody else decides whether this call is made.")
