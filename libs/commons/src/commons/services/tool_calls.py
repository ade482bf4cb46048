"""The ledger of tool calls as the agent's workers keep it (docs/adr/0045).

What becomes of a call is one conditional write a step, in one transaction with the event that
tells of it. Whether it is made, `ToolDecisionsService` says.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from commons import keys
from commons.clock import epoch_milliseconds, rfc3339
from commons.dal import (
    Compare,
    Condition,
    ConditionCheck,
    Exists,
    IRepository,
    Item,
    NotExists,
    PutWrite,
    Table,
    Update,
    UpdateWrite,
    Write,
    all_of,
)
from commons.dynamodb.exceptions import (
    StorageBusyError,
    TransactionCanceledError,
)
from commons.errors import ChannelNotFoundError
from commons.ids import tool_call_id
from commons.observability import count_for, metrics
from commons.records.channel import ChannelRecord
from commons.records.generation import GenerationStep, OpenGeneration
from commons.records.spend import NO_COST
from commons.records.timer import TimerRecord
from commons.records.tool import (
    MAX_RESULT_BYTES,
    NewCall,
    ToolCallRecord,
    may_decide,
    rule_in_force,
)
from commons.schemas.event import (
    CallOutcome,
    Event,
    Sender,
    ToolFinishedData,
    ToolRequestedData,
)
from commons.services.base import BaseService
from commons.services.event_log import Draft, EventLogService
from commons.services.generation_hold import (
    AGENT,
    GenerationLostError,
    held,
    still_held,
    uncancelled,
    undeleted,
)
from commons.services.membership import MembershipService
from commons.services.tool_call_rows import ToolCallRows
from commons.services.tool_decisions import ToolDecisionsService, same_settings

APPROVAL_SECONDS: Final = 24 * 3_600

MAX_TOLD_BYTES: Final = 4_096
"""Of a result in an event; the model is shown more."""

NEVER_MADE: Final = "The call was not made."

type Refusal = Literal["right", "tool", "cancelled", "state"]

_TRIES: Final = 5


class CallNotAllowedError(Exception):
    """A call that is not to be made, now or later.

    Attributes:
        reason: `right`: who approved it has lost the right; `tool`: the channel no longer allows
            the tool; `cancelled`: nobody waits for it; `state`: it is not approved, or was begun.
    """

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason: Refusal = reason


class QuestionGoneError(Exception):
    """The question was deleted: nothing more is to come of it."""


class _CallChangedError(Exception):
    def __init__(self, item: Item | None) -> None:
        super().__init__("the call has changed")
        self.item = item


class ToolCallsService(BaseService):
    """Keeps the calls of replies, for who holds the reply.

    Args:
        approval_seconds: how long a call waits for a decision.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        event_log: EventLogService | None = None,
        membership: MembershipService | None = None,
        approval_seconds: int = APPROVAL_SECONDS,
        clock: Callable[[], int] = epoch_milliseconds,
    ) -> None:
        super().__init__(repository)
        self._event_log = event_log or EventLogService(self.repository)
        self._membership = membership or MembershipService(self.repository)
        self._decisions = ToolDecisionsService(
            self.repository, event_log=self._event_log, membership=self._membership, clock=clock
        )
        self._rows = ToolCallRows(self.repository)
        self._approval_seconds = approval_seconds
        self._clock = clock

    def request(
        self,
        row: OpenGeneration,
        step: GenerationStep,
        calls: Sequence[NewCall],
        *,
        text: str,
        settling: Sequence[Write] = (),
    ) -> OpenGeneration:
        """Lays a step down with its calls, then tells of each; again: what is missing of that.

        Args:
            row: held by who asks, with all of its steps.
            step: what the model wrote and asked for; the ids of its calls are filled in here.
            calls: of those of the step's calls that have no error, in their order; 40 at most.
            text: all that was written so far.
            settling: what the request cost; the row holds no reservation afterwards.

        Returns:
            The row as it is then.

        Raises:
            GenerationLostError: somebody else holds it, or has ended it.
            QuestionGoneError: the question was deleted.
            ChannelNotFoundError: the channel was deleted.
        """
        index = row.step_count
        step = _with_ids(row, step)
        after = row.model_copy(
            update={
                "steps": [*row.steps, step],
                "step_count": index + 1,
                "text": text,
                "reservation": None,
                "unsettled": NO_COST,
            }
        )
        question = self._event_log.get_message(row.channel_id, row.question_seq)
        ids = [each.call_id for each in step.calls if each.call_id is not None]
        records = [
            self._record(row, call, question.sender.id, call_id, position)
            for position, (call_id, call) in enumerate(zip(ids, calls, strict=True))
        ]
        self._lay_down(row, after, records, settling)
        self.announce(after, index)
        return after

    def announce(self, row: OpenGeneration, index: int) -> list[ToolCallRecord]:
        """Tells of those calls of a step that a dead worker laid down and told nobody of.

        Returns:
            The step's calls, in their order.

        Raises:
            GenerationLostError: somebody else holds the reply, or has ended it.
            QuestionGoneError: the question was deleted.
            ChannelNotFoundError: the channel was deleted.
        """
        return [
            call if call.is_told or call.is_over else self._announce(row, call)
            for call in self.of_step(row, index)
        ]

    def of_step(self, row: OpenGeneration, index: int) -> list[ToolCallRecord]:
        """The calls of one step in its order, consistently read."""
        return self._rows.of_step(row, index)

    def of_generation(self, row: OpenGeneration) -> list[ToolCallRecord]:
        """All calls of a reply in their order, consistently read."""
        return self._rows.of_question(row.channel_id, row.question_seq, row.generation)

    def start(self, row: OpenGeneration, call: ToolCallRecord) -> ToolCallRecord:
        """Takes the call in hand: whoever holds the reply may make it now, once.

        A call that a dead worker was at is taken again only where that is safe.

        Raises:
            CallNotAllowedError: it is not to be made.
            GenerationLostError: somebody else holds the reply, or has ended it.
            ChannelNotFoundError: the channel was deleted.
        """
        for _ in range(_TRIES):
            channel = self._membership.find_channel(row.channel_id)
            if channel is None:
                raise ChannelNotFoundError
            current = self._rows.find(row.channel_id, call.call_id)
            if current is None or not current.is_told:
                raise CallNotAllowedError("state")
            if (current.status, current.fence) == ("running", row.fence):
                # Storage was unsure whether it was taken in hand: it was, and is not made yet.
                return current
            is_to_repeat = current.status == "running" and current.is_repeatable
            if current.status != "approved" and not is_to_repeat:
                raise CallNotAllowedError("state")
            started = self._try_start(row, current, channel)
            if started is not None:
                return started
        raise StorageBusyError("a call could not be taken in hand")

    def finish(
        self,
        row: OpenGeneration,
        call: ToolCallRecord,
        outcome: CallOutcome,
        result: str | None = None,
        *,
        truncated: bool = False,
    ) -> Event | None:
        """Lays down what a call came to; again: changes nothing and returns the first event.

        Args:
            row: held by who asks.
            call: begun; one that was approved and never begun can only end in `error`.
            outcome: what it came to.
            result: what the model is shown, of which 16 KB are kept and 4 KB told.
            truncated: the tool said more.

        Returns:
            None where it has ended without an event.

        Raises:
            GenerationLostError: somebody else holds the reply, or has ended it.
            ChannelNotFoundError: the channel was deleted.
        """
        finished_seq = 0
        was_begun = False

        def prepare() -> Draft | None:
            nonlocal finished_seq, was_begun
            current = self._rows.find(row.channel_id, call.call_id)
            if current is None or current.status not in {"approved", "running"}:
                finished_seq = 0 if current is None else current.finished_seq
                return None
            if current.status == "approved" and outcome != "error":
                raise ValueError("a call that was never begun came to nothing")
            was_begun = current.status == "running"
            return self._finishing(row, current, outcome, result, truncated=truncated)

        event = self._event_log.append(row.channel_id, prepare)
        if event is None:
            return self._event_log.get(row.channel_id, finished_seq) if finished_seq else None
        if was_begun:
            _measure(outcome)
        return event

    def cancel_pending(self, row: OpenGeneration, by: Sender) -> None:
        """Closes whatever calls of a reply are open, before it ends; again: what is left.

        What waits for a decision is `cancelled` by `by`; what was approved and not begun ends in
        `error`; what somebody was at, in `unknown`. What nobody was told of ends without an event.

        Raises:
            GenerationLostError: somebody else holds the reply, or has ended it.
            ChannelNotFoundError: the channel was deleted.
        """
        for _ in range(_TRIES):
            calls = [each for each in self.of_generation(row) if not each.is_over]
            if not calls:
                return
            for call in calls:
                self._close(row, call, by)
        raise StorageBusyError("calls of a reply could not be closed")

    def _record(
        self, row: OpenGeneration, call: NewCall, requester: str, call_id: str, position: int
    ) -> ToolCallRecord:
        is_free = call.rule == "none"
        return ToolCallRecord(
            channel_id=row.channel_id,
            call_id=call_id,
            question_seq=row.question_seq,
            generation=row.generation,
            step=row.step_count,
            position=position,
            tool=call.tool,
            arguments=call.arguments,
            digest=call.digest,
            approval=call.rule,
            read_only=call.read_only,
            idempotent=call.idempotent,
            requested_by=requester,
            status="approved" if is_free else "requested",
            expires_at=0 if is_free else self._clock() + self._approval_seconds * 1_000,
        )

    def _lay_down(
        self,
        row: OpenGeneration,
        after: OpenGeneration,
        records: Sequence[ToolCallRecord],
        settling: Sequence[Write],
    ) -> None:
        update = Update(
            set={
                "steps": [
                    each.model_dump(by_alias=False, exclude_none=True) for each in after.steps
                ],
                "step_count": after.step_count,
                "text": after.text,
            },
            remove=("reservation", "unsettled"),
        )
        writes: list[Write] = [
            UpdateWrite(Table.CHANNELS, row.key, update, held(row)),
            undeleted(row),
        ]
        for record in records:
            stored = record.model_dump(exclude_none=True, exclude_defaults=True)
            # Compared, so it is stored though it is the default.
            item = {**record.key, **stored, "fence": record.fence}
            writes.append(PutWrite(Table.CHANNELS, item, NotExists("pk")))
            if record.is_pending:
                writes.append(TimerRecord.of_approval(record).write())
        try:
            self.repository.transact([*writes, *settling])
        except TransactionCanceledError as error:
            # A call that is made again, because storage was unsure, finds that the first one stands.
            current = self._current(row)
            if current is not None and current.steps == after.steps:
                return
            if current is not None and error.reasons[1].condition_failed:
                raise QuestionGoneError from None
            raise GenerationLostError from None

    def _current(self, row: OpenGeneration) -> OpenGeneration | None:
        """The row as it is; None where somebody else holds it, or has ended it."""
        item = self.repository.find(Table.CHANNELS, row.key, consistent=True)
        current = None if item is None else OpenGeneration.model_validate(item)
        if current is None or (current.fence, current.status) != (row.fence, row.status):
            return None
        return current

    def _announce(self, row: OpenGeneration, call: ToolCallRecord) -> ToolCallRecord:
        moment = self._clock()
        data = ToolRequestedData(
            target=call.question_seq,
            generation=call.generation,
            call_id=call.call_id,
            tool=call.tool,
            arguments=call.parsed_arguments,
            approval=call.approval,
            expires_at=_moment(call.expires_at) if call.expires_at else None,
        )

        def writes(seq: int) -> list[Write]:
            told = {"requested_seq": seq, "requested_at": moment}
            is_untold = all_of(NotExists("requested_seq"), Compare("status", "=", call.status))
            return [
                UpdateWrite(Table.CHANNELS, call.key, Update(set=told), is_untold),
                still_held(row),
                undeleted(row),
            ]

        def judge(position: int, item: Item | None) -> None:
            if position == 0:
                raise _CallChangedError(item)
            raise GenerationLostError if position == 1 else QuestionGoneError

        draft = Draft(
            sender=AGENT, data=data, writes=writes, on_rejected=judge, holds_its_reasons=True
        )
        try:
            event = self._event_log.append(call.channel_id, lambda: draft)
        except _CallChangedError as changed:
            # It was told of by a try whose answer was lost, or its reply has ended.
            if changed.item is None:
                raise GenerationLostError from None
            return ToolCallRecord.model_validate(changed.item)
        return call.model_copy(update={"requested_seq": event.seq, "requested_at": moment})

    def _try_start(
        self, row: OpenGeneration, call: ToolCallRecord, channel: ChannelRecord
    ) -> ToolCallRecord | None:
        """None where something has changed that is to be judged anew."""
        changes = {"status": "running", "fence": row.fence, "started_at": self._clock()}
        writes: list[Write] = [
            UpdateWrite(Table.CHANNELS, call.key, Update(set=changes), _as_read(call)),
            still_held(row, NotExists("cancelled")),
            undeleted(row),
            uncancelled(row),
            same_settings(channel),
            *_approver_check(call, channel),
        ]
        try:
            self.repository.transact(writes)
        except TransactionCanceledError as error:
            call_changed, not_held, *no_longer_wanted, settings_changed = (
                reason.condition_failed for reason in error.reasons[:5]
            )
            if not_held and self._current(row) is None:
                raise GenerationLostError from None
            if not_held or any(no_longer_wanted):
                raise CallNotAllowedError("cancelled") from None
            if call_changed or settings_changed:
                return None
            raise CallNotAllowedError("right") from None
        return call.model_copy(update=changes)

    def _finishing(
        self,
        row: OpenGeneration,
        call: ToolCallRecord,
        outcome: CallOutcome,
        result: str | None,
        *,
        truncated: bool,
    ) -> Draft:
        kept = None if result is None else _cut(result, MAX_RESULT_BYTES)
        told = None if result is None else _cut(result, MAX_TOLD_BYTES)
        data = ToolFinishedData(
            target=call.question_seq,
            generation=call.generation,
            call_id=call.call_id,
            outcome=outcome,
            result=told,
            truncated=True if truncated or told != result else None,
        )
        changes: dict[str, object] = {
            "status": "unknown" if outcome == "unknown" else "done",
            "outcome": outcome,
            "finished_at": self._clock(),
        }
        question = self._event_log.get_message(row.channel_id, row.question_seq)
        is_deleted = bool(question.data.redacted)
        if is_deleted:
            data = data.emptied()
        elif kept is not None:
            changes |= {"result": kept, "truncated": truncated or kept != result}

        def writes(seq: int) -> list[Write]:
            update = Update(set={**changes, "finished_seq": seq})
            return [
                UpdateWrite(Table.CHANNELS, call.key, update, _as_read(call)),
                still_held(row),
                *([] if is_deleted else [undeleted(row)]),
            ]

        def judge(position: int, _item: Item | None) -> None:
            if position == 1:
                raise GenerationLostError

        return Draft(
            sender=AGENT, data=data, writes=writes, on_rejected=judge, holds_its_reasons=True
        )

    def _close(self, row: OpenGeneration, call: ToolCallRecord, by: Sender) -> None:
        if not call.is_told:
            self._forget(row, call)
        elif call.is_pending:
            self._decisions.cancel(row, call, by)
        elif call.status == "approved":
            self.finish(row, call, "error", NEVER_MADE)
        else:
            self.finish(row, call, "unknown")

    def _forget(self, row: OpenGeneration, call: ToolCallRecord) -> None:
        is_untold = all_of(NotExists("requested_seq"), Compare("status", "=", call.status))
        cancelled = Update(set={"status": "cancelled"})
        try:
            self.repository.transact(
                [
                    UpdateWrite(Table.CHANNELS, call.key, cancelled, is_untold),
                    still_held(row),
                ]
            )
        except TransactionCanceledError as error:
            if error.reasons[1].condition_failed:
                raise GenerationLostError from None


def _with_ids(row: OpenGeneration, step: GenerationStep) -> GenerationStep:
    """Those that can be made get the id of their place in the reply."""
    calls = [
        (
            each
            if each.error is not None
            else each.model_copy(
                update={
                    "call_id": tool_call_id(
                        row.channel_id, row.question_seq, row.generation, row.step_count, position
                    )
                }
            )
        )
        for position, each in enumerate(step.calls)
    ]
    return step.model_copy(update={"calls": calls})


def _approver_check(call: ToolCallRecord, channel: ChannelRecord) -> list[Write]:
    """Whoever approved the call still holds the right that it needs now.

    Raises:
        CallNotAllowedError: that is not so, or the channel allows no such call any more.
    """
    rule = rule_in_force(call.tool, call.approval, channel.agent)
    if rule is None:
        raise CallNotAllowedError("tool")
    if rule == "none":
        return []
    approver = call.decided_by
    # Whether the approver has the role is for the transaction to say.
    if approver is None or not may_decide(
        rule, user_id=approver, role="owner", requested_by=call.requested_by
    ):
        raise CallNotAllowedError("right")
    has_role: Condition = Compare("role", "=", "owner") if rule == "owner" else Exists("pk")
    key = keys.member_key(call.channel_id, approver)
    return [ConditionCheck(Table.CHANNELS, key, has_role)]


def _measure(outcome: CallOutcome) -> None:
    metrics.add_metric(name="ToolCalled", unit="Count", value=1)
    match outcome:
        case "error":
            metrics.add_metric(name="ToolFailed", unit="Count", value=1)
        case "unknown":
            # Whoever ends a reply may find a call whose worker is gone.
            count_for("workers_agent", name="ToolUnknown")


def _as_read(call: ToolCallRecord) -> Condition:
    return all_of(Compare("status", "=", call.status), Compare("fence", "=", call.fence))


def _moment(milliseconds: int) -> str:
    return rfc3339(datetime.fromtimestamp(milliseconds / 1_000, UTC))


def _cut(text: str, most: int) -> str:
    """At most so many bytes of UTF-8, no character halved; what UTF-8 cannot hold is replaced."""
    encoded = text.encode(errors="replace")
    return encoded[:most].decode(errors="ignore")
