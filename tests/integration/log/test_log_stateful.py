"""The log against its model: any operations, whatever crashes, repeats and meets.

Each step makes one operation through the services, as a process that may die before or after any
call to storage, whose SDK may make a call twice, or that another process's operation overtakes at
any call. A client whose call died asks again or gives up. What is then stored must be what the
model says for some order of these operations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from tests.support.thoroughness import SEQUENCES

from commons import keys
from commons.dal import IRepository, PutWrite, Query, SortPrefix, Table, Write
from commons.errors import ChannelNotFoundError, ChatError
from commons.observability import metrics
from commons.realtime.broadcaster import Broadcaster
from commons.records.channel import (
    AgentRecord,
    ChannelRecord,
    MemberRecord,
    channel_from_item,
    member_from_item,
)
from commons.schemas.caller import Caller
from commons.schemas.event import Role
from commons.schemas.message import PostMessage
from commons.services import event_log as log_module
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.closing import ClosingService
from commons.services.event_log import EventLogService, Timing
from commons.services.history import HistoryService
from commons.services.messages import MessagesService
from commons.services.rate_limit import NoticeRateService
from commons.services.read_marks import ReadMarksService
from commons.services.subscriptions_ending import SubscriptionsEndingService
from commons.services.tool_catalogue import ToolCatalogueService
from rest_api.services.agents import AgentRules
from rest_api.services.channels import ChannelsService
from rest_api.services.deletions import DeletionsService
from rest_api.services.edits import EditsService
from rest_api.services.member_rows import new_member_writes
from rest_api.services.members import MembersService
from rest_api.services.reactions import ReactionsService

from .model import (
    Answered,
    ChannelModel,
    Close,
    Delete,
    Edit,
    Logged,
    MarkRead,
    MemberModel,
    MessageModel,
    Operation,
    Outcome,
    Post,
    Posted,
    PutMember,
    React,
    RemoveMember,
    in_turn,
)
from .unreliable import (
    CrashError,
    Fault,
    Storage,
    UnreliableRepository,
    WithMarkersAfterwards,
    WithoutConditionalPut,
    WithoutMarkers,
    WithoutRedaction,
)

CHANNEL = "channel-1"
USERS = ("alice", "bob", "carol")
CALLERS = ("alice", "alice", "bob", "bob", "carol")
# Nobody is connected in these tests, so it never posts.
BROADCASTER = Broadcaster("http://127.0.0.1:1")
STEPS = 20


class Process:
    """A warm function: services over one repository, and the heads they remember."""

    def __init__(self, repository: IRepository) -> None:
        self.repository = repository
        broadcasts = ChannelBroadcastService(repository, broadcaster=BROADCASTER)
        self._messages = MessagesService(repository)
        self._edits = EditsService(repository)
        self._deletions = DeletionsService(repository)
        self._reactions = ReactionsService(repository)
        self._members = MembersService(
            repository,
            subscriptions=SubscriptionsEndingService(repository, broadcasts=broadcasts),
            max_members=1_000,
        )
        self._read_marks = ReadMarksService(
            repository,
            broadcasts=broadcasts,
            notice_rate=NoticeRateService(repository, kind="read", rate=0),
        )
        ending = SubscriptionsEndingService(repository, broadcasts=broadcasts)
        self._channels = ChannelsService(
            repository,
            agents=AgentRules(["none"], catalogue=ToolCatalogueService(repository)),
            closing=ClosingService(repository, subscriptions=ending),
        )

    def answer(self, operation: Operation) -> Outcome:
        try:
            return self._answer(operation)
        except ChatError as error:
            return error.status

    def _answer(self, operation: Operation) -> Outcome:
        caller = Caller(user_id=operation.user, expires_at=2**40)
        match operation:
            case Post():
                message = PostMessage(
                    text=operation.text,
                    client_message_id=operation.client_message_id,
                    reply_to=operation.reply_to,
                )
                posted = self._messages.post(CHANNEL, caller, message)
                return Posted(posted.event.seq, posted.duplicate)
            case Edit():
                self._edits.edit(CHANNEL, caller, operation.seq, operation.text)
            case Delete():
                self._deletions.delete(CHANNEL, caller, operation.seq)
            case React(_, seq, emoji, present):
                change = self._reactions.add if present else self._reactions.remove
                change(CHANNEL, caller, seq, emoji)
            case PutMember():
                self._members.put(CHANNEL, caller, operation.subject, operation.role)
            case RemoveMember():
                self._members.remove(CHANNEL, caller, operation.subject)
            case MarkRead():
                self._read_marks.mark(CHANNEL, caller, operation.seq)
            case Close():
                self._channels.delete(CHANNEL, caller)
        return "done"


def stored(repository: IRepository) -> ChannelModel:
    """The channel as a reader finds it."""
    log, history = EventLogService(repository), HistoryService(repository)
    events: list[Logged] = []
    while True:
        page = log.read(CHANNEL, after=len(events), limit=3)
        for event in page.items:
            assert event.seq == len(events) + 1
            wire = event.to_wire()
            events.append(
                Logged(event.type, event.sender.id, wire["data"], event.client_message_id)
            )
        if not page.has_more:
            break
    closed = bool(events) and events[-1].type == "channel.deleted"
    assert page.last_seq == len(events)
    if closed:
        with pytest.raises(ChannelNotFoundError):
            log.head(CHANNEL)
    else:
        assert log.head(CHANNEL) == len(events)
    members = {} if closed else stored_members(repository)
    channel = ChannelModel(members=members, events=events, closed=closed)
    before: int | None = None
    while True:
        messages = history.page(CHANNEL, limit=2, before=before)
        for message in messages.items:
            assert message == history.message(CHANNEL, message.seq)
            channel.messages[message.seq] = MessageModel(
                seq=message.seq,
                sender=message.sender.id,
                text=message.text,
                reply_to=message.reply_to,
                deleted=message.deleted_at is not None,
                reactions=message.reactions,
            )
        if messages.reached is None:
            return channel
        before = messages.reached


def stored_members(repository: IRepository) -> dict[str, MemberModel]:
    rows = repository.query(
        Query(
            table=Table.CHANNELS,
            partition=keys.channel_partition(CHANNEL),
            sort=SortPrefix(keys.MEMBER_PREFIX),
        )
    ).items
    records = [member_from_item(row) for row in rows]
    for user in USERS:
        is_member = user in {record.user_id for record in records}
        twin = repository.find(Table.CHANNELS, keys.user_channel_key(user, CHANNEL))
        assert (twin is not None) == is_member
    channel = channel_from_item(repository.get(Table.CHANNELS, keys.channel_key(CHANNEL)))
    assert channel.member_count == len(records)
    assert channel.owner_count == sum(record.role == "owner" for record in records)
    return {record.user_id: MemberModel(record.role, record.read_seq) for record in records}


def create_channel(repository: IRepository, model: ChannelModel) -> None:
    owners = [user for user, member in model.members.items() if member.role == "owner"]
    created_at = "2026-01-01T00:00:00.000Z"
    channel = ChannelRecord(
        channel_id=CHANNEL,
        name="Channel 1",
        created_at=created_at,
        created_by=owners[0],
        agent=AgentRecord(mode="off", model_id="none"),
        member_count=len(model.members),
        owner_count=len(owners),
    )
    stored_channel = channel.model_dump(exclude_none=True, exclude={"deleted"})
    writes: list[Write] = [
        PutWrite(Table.CHANNELS, {**keys.channel_key(CHANNEL), **stored_channel})
    ]
    for user, member in model.members.items():
        writes += new_member_writes(
            MemberRecord(channel_id=CHANNEL, user_id=user, role=member.role, joined_at=created_at)
        )
    repository.transact(writes)


@dataclass(frozen=True)
class Ask:
    """An operation before it is said what it is about: `pick` and `again` choose when it is made."""

    kind: Literal[
        "post",
        "edit",
        "delete",
        "react",
        "put member",
        "remove member",
        "mark read",
        "close",
    ]
    user: str
    pick: int
    subject: str
    role: Role
    emoji: str
    client_message_id: str | None
    again: bool


ASKS = st.builds(
    Ask,
    kind=st.sampled_from(
        [
            *("post", "post", "post", "edit", "delete", "react"),
            *("put member", "remove member", "mark read", "close"),
        ]
    ),
    user=st.sampled_from(CALLERS),
    pick=st.integers(0, 40),
    subject=st.sampled_from(USERS),
    role=st.sampled_from(["owner", "member"]),
    emoji=st.sampled_from(["\N{THUMBS UP SIGN}", "\N{PARTY POPPER}"]),
    client_message_id=st.sampled_from([None, "one", "two"]),
    again=st.booleans(),
)
AT_CALL = st.integers(1, 8)


class LogMachine(RuleBasedStateMachine):
    storage: type[Storage] = Storage

    def __init__(self) -> None:
        super().__init__()
        self.repository = self.storage()
        self.model = ChannelModel(
            members={"alice": MemberModel("owner"), "bob": MemberModel("member")}
        )
        self.texts = 0
        create_channel(self.repository, self.model)
        self.start_process()
        self.neighbour = Process(UnreliableRepository(self.repository))

    def teardown(self) -> None:
        metrics.clear_metrics()

    def start_process(self) -> None:
        self.unreliable = UnreliableRepository(self.repository)
        self.process = Process(self.unreliable)

    @rule(ask=ASKS)
    def nothing_goes_wrong(self, ask: Ask) -> None:
        operation = self.operation(ask)
        self.settle(self.process.answer(operation), [in_turn(self.model, operation)])

    @rule(ask=ASKS)
    def another_process_is_asked(self, ask: Ask) -> None:
        """It remembers the head that it left, however many events ago."""
        operation = self.operation(ask)
        self.settle(self.neighbour.answer(operation), [in_turn(self.model, operation)])

    @rule(ask=ASKS, at_call=AT_CALL)
    def the_sdk_makes_a_call_twice(self, ask: Ask, at_call: int) -> None:
        operation = self.operation(ask)
        self.unreliable.arm(Fault(at_call, "repeat"))
        self.settle(self.process.answer(operation), [in_turn(self.model, operation)])

    @rule(
        ask=ASKS,
        at_call=AT_CALL,
        when=st.sampled_from(["crash before", "crash after"]),
        asks_again=st.booleans(),
        restarts=st.booleans(),
    )
    def the_process_dies(
        self,
        ask: Ask,
        at_call: int,
        when: Literal["crash before", "crash after"],
        asks_again: bool,
        restarts: bool,
    ) -> None:
        operation = self.operation(ask)
        self.unreliable.arm(Fault(at_call, when))
        once = in_turn(self.model, operation)
        try:
            answer = self.process.answer(operation)
        except CrashError:
            if restarts:
                self.start_process()
            if asks_again:
                twice = in_turn(self.model, operation, operation)
                self.settle(self.process.answer(operation), [once, twice])
            else:
                self.settle(None, [in_turn(self.model), once])
        else:
            self.settle(answer, [once])

    @rule(ask=ASKS, at_call=AT_CALL, other=ASKS)
    def another_process_comes_between(self, ask: Ask, at_call: int, other: Ask) -> None:
        operation, theirs = self.operation(ask), self.operation(other)
        answers: list[Outcome] = []
        self.unreliable.arm(
            Fault(at_call, "meanwhile", lambda: answers.append(self.neighbour.answer(theirs)))
        )
        answer = self.process.answer(operation)
        if not answers:
            self.settle(answer, [in_turn(self.model, operation)])
            return
        possible: list[Answered] = []
        channel, (mine, their) = in_turn(self.model, operation, theirs)
        if [their] == answers:
            possible.append((channel, (mine,)))
        channel, (their, mine) = in_turn(self.model, theirs, operation)
        if [their] == answers:
            possible.append((channel, (mine,)))
            if isinstance(mine, int) and not isinstance(answer, Posted):
                # The caller's rights were read before and the rest after: nothing is written, and
                # which refusal is told, or that it is so already, gives away nothing.
                possible.append((channel, (answer,)))
        self.settle(answer, possible)

    def operation(self, ask: Ask) -> Operation:  # noqa: PLR0911  # one a kind
        user, model = ask.user, self.model
        seq = 1 + ask.pick % (len(model.events) + 1)
        if model.messages and ask.pick % 5:
            seq = sorted(model.messages)[ask.pick % len(model.messages)]
        match ask.kind:
            case "post":
                used = model.used.get((user, ask.client_message_id or ""))
                if ask.again and used is not None and used.text is not None:
                    return Post(user, used.text, ask.client_message_id, used.reply_to)
                reply_to = None if ask.pick % 3 else seq
                return Post(user, self.new_text(), ask.client_message_id, reply_to)
            case "edit":
                message = model.messages.get(seq)
                same = message is not None and ask.again and not message.deleted
                return Edit(user, seq, message.text if message and same else self.new_text())
            case "delete":
                return Delete(user, seq)
            case "react":
                return React(user, seq, ask.emoji, ask.again)
            case "put member":
                return PutMember(user, ask.subject, ask.role)
            case "remove member":
                return RemoveMember(user, ask.subject)
            case "close" if ask.pick % 4 == 0:
                return Close(user)
            case _:
                return MarkRead(user, 1 + ask.pick % (len(model.events) + 1))

    def new_text(self) -> str:
        """No text is part of another, so that it can be looked for in all that is stored."""
        self.texts += 1
        return f"<{self.texts}>"

    def settle(self, answer: Outcome | None, possible: Sequence[Answered]) -> None:
        """Finds what happened among what may have happened."""
        self.unreliable.disarm()
        found = stored(self.repository)
        for channel, outcomes in possible:
            if channel.visible() == found.visible() and (answer is None or answer == outcomes[-1]):
                self.model = channel
                break
        else:
            raise AssertionError(f"{answer} and {found.visible()}, but possible is {possible}")
        everything = repr([self.repository.all_items(table) for table in Table])
        assert not [text for text in self.model.texts_to_be_gone() if text in everything]


@pytest.fixture(autouse=True, scope="module")
def _no_pauses() -> Iterator[None]:
    """A writer that lost does not wait: here nobody else is at work while it would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module, "Timing", lambda: Timing(sleep=lambda _seconds: None))
        yield


@pytest.mark.timeout(600)
def test_the_log_is_its_model_in_any_order_of_operations_crashes_and_retries() -> None:
    run_state_machine_as_test(
        LogMachine,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )


@pytest.mark.parametrize(
    "broken_storage",
    [WithoutConditionalPut, WithoutMarkers, WithMarkersAfterwards, WithoutRedaction],
)
def test_the_model_notices(broken_storage: type[Storage]) -> None:
    class BrokenMachine(LogMachine):
        storage = broken_storage

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            BrokenMachine,
            settings=settings(
                max_examples=SEQUENCES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
                phases=[Phase.generate],
                verbosity=Verbosity.quiet,
            ),
        )
