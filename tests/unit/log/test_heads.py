"""What appends cost, and who waits: counts that depend on no machine."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tests.doubles.metered_process import MeteredProcess
from tests.doubles.repository import InMemoryRepository
from tests.integration.log.unreliable import UnreliableRepository

from commons import keys
from commons.dal import Condition, Item, Table
from commons.errors import ChannelNotFoundError
from commons.observability import metrics
from commons.schemas.caller import Caller
from commons.schemas.event import MessageCreatedData, Sender
from commons.schemas.message import PostMessage
from commons.services import event_log as log_module
from commons.services.event_log import Draft, EventLogService, Timing
from commons.services.head_memory import FIRST_PATIENCE
from commons.services.messages import MessagesService

CHANNEL = "channel-1"
ALICE = Sender(id="alice", kind="user")


@dataclass
class Clock:
    """Time that only passes where somebody waits."""

    seconds: float = 1_000.0
    waited: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.seconds += seconds

    def timing(self) -> Timing:
        return Timing(clock=lambda: self.seconds, sleep=self.sleep, jitter=lambda most: most)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(log_module, "Timing", clock.timing)
    return clock


APPENDS = 240


def in_turn(processes: int) -> list[int]:
    return [number % processes for number in range(APPENDS)]


def as_balanced(processes: int) -> list[int]:
    """As a balancer spreads calls: often to another, sometimes to the same again."""
    chance = random.Random(1)  # noqa: S311 - no secret
    return [chance.randrange(processes) for _ in range(APPENDS)]


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
@pytest.mark.parametrize("has_id", [False, True])
@pytest.mark.parametrize(("order", "lost"), [(in_turn, 1), (as_balanced, 4)])
def test_functions_that_take_turns_keep_the_budget(  # noqa: PLR0917 - cases
    repository: InMemoryRepository,
    alice: Caller,
    clock: Clock,
    processes: int,
    has_id: bool,
    order: Callable[[int], list[int]],
    lost: int,
) -> None:
    functions = [MeteredProcess(repository) for _ in range(processes)]
    services = [MessagesService(function) for function in functions]
    for service in services:
        service.post(CHANNEL, alice, PostMessage(text="x"))
    for function in functions:
        function.calls = function.write_units = 0

    for number, turn in enumerate(order(processes)):
        message = PostMessage(text="x" * 200, client_message_id=f"m{number}" if has_id else None)
        services[turn].post(CHANNEL, alice, message)
        metrics.clear_metrics()

    calls = sum(function.calls for function in functions) / APPENDS
    write_units = sum(function.write_units for function in functions) / APPENDS
    # In turn, only the first of all does not know that others will write here.
    assert sum(function.lost for function in functions) <= (0 if processes == 1 else lost)
    assert calls <= (2 if processes == 1 else 3 + 3 * lost / APPENDS)
    assert write_units <= (5 + 4 * lost / APPENDS if has_id else 2 + lost / APPENDS)
    assert clock.waited == []


def test_an_only_writer_reads_no_head_again_once_others_are_gone(
    repository: InMemoryRepository, alice: Caller, clock: Clock
) -> None:
    function = MeteredProcess(repository)
    service, other = MessagesService(function), MessagesService(UnreliableRepository(repository))
    service.post(CHANNEL, alice, PostMessage(text="x"))
    other.post(CHANNEL, alice, PostMessage(text="x"))

    calls: list[int] = []
    for _ in range(12):
        function.calls = 0
        service.post(CHANNEL, alice, PostMessage(text="x"))
        calls.append(function.calls)

    assert calls == [5, *[3] * (2 * FIRST_PATIENCE), *[2] * (11 - 2 * FIRST_PATIENCE)]
    assert clock.waited == []


def test_a_head_is_trusted_for_a_second(
    repository: InMemoryRepository, alice: Caller, clock: Clock
) -> None:
    function = MeteredProcess(repository)
    service = MessagesService(function)

    def calls() -> int:
        function.calls = 0
        service.post(CHANNEL, alice, PostMessage(text="x"))
        return function.calls

    calls()
    assert calls() == 2
    clock.seconds += 0.9
    assert calls() == 2
    clock.seconds += 1.1
    assert calls() == 3


def test_a_head_of_long_ago_costs_one_lost_write_and_no_pause(
    repository: InMemoryRepository, alice: Caller, clock: Clock
) -> None:
    function = MeteredProcess(repository)
    service, other = MessagesService(function), MessagesService(UnreliableRepository(repository))
    service.post(CHANNEL, alice, PostMessage(text="x"))
    for _ in range(50):
        other.post(CHANNEL, alice, PostMessage(text="x"))
    _backdate(repository)

    service.post(CHANNEL, alice, PostMessage(text="x"))

    assert function.lost == 1
    assert clock.waited == []


def _backdate(repository: InMemoryRepository) -> None:
    """Another's events were appended before the append at hand began."""
    for item in repository.all_items(Table.CHAT_EVENTS):
        if "created_at" in item:
            repository.put(Table.CHAT_EVENTS, {**item, "created_at": "2026-01-01T00:00:00.000Z"})


class Crowded(InMemoryRepository):
    """Somebody else is faster at the first `losses` tries of whoever writes through it."""

    def __init__(self, clock: Clock, losses: int) -> None:
        super().__init__()
        self.clock = clock
        self.losses = losses

    def put(self, table: Table, item: Item, *, condition: Condition | None = None) -> None:
        self._take(item)
        super().put(table, item, condition=condition)

    def _take(self, item: Item) -> None:
        if self.losses and "sender_id" in item:
            self.losses -= 1
            self.clock.seconds += 0.01
            later = {**item, "created_at": "2999-01-01T00:00:00.000Z"}
            super().put(Table.CHAT_EVENTS, later)


def draft() -> Draft:
    return Draft(sender=ALICE, data=MessageCreatedData(text="x"))


def test_whoever_lost_waits_less_and_newcomers_wait_most(clock: Clock) -> None:
    repository = Crowded(clock, losses=4)
    event_log = EventLogService(repository)

    event_log.append(CHANNEL, draft)
    as_loser = list(clock.waited)
    clock.waited.clear()
    event_log.append(CHANNEL, draft)

    assert as_loser == sorted(as_loser, reverse=True)
    (as_newcomer,) = clock.waited
    assert as_newcomer > max(as_loser)


def test_what_moderates_waits_for_nobody(clock: Clock) -> None:
    repository = Crowded(clock, losses=20)
    event_log = EventLogService(repository)
    event_log.append(CHANNEL, draft)
    clock.waited.clear()
    repository.losses = 20

    event_log.append(CHANNEL, draft, goes_first=True)

    assert clock.waited == []


def test_a_crowd_that_is_gone_is_not_waited_for(clock: Clock) -> None:
    event_log = EventLogService(Crowded(clock, losses=20))
    event_log.append(CHANNEL, draft)
    clock.waited.clear()

    clock.seconds += 20
    event_log.append(CHANNEL, draft)

    assert sum(clock.waited) < 0.001


def test_a_draft_that_holds_its_reasons_is_tried_again_in_one_call(clock: Clock) -> None:
    function = MeteredProcess(Crowded(clock, losses=5))
    asked = 0

    def prepare() -> Draft:
        nonlocal asked
        asked += 1
        return Draft(sender=ALICE, data=MessageCreatedData(text="x"), holds_its_reasons=True)

    EventLogService(function).append(CHANNEL, prepare, goes_first=True)

    assert (asked, function.calls) == (1, 1 + 6)


def test_any_other_draft_is_judged_anew_after_every_lost_try(clock: Clock) -> None:
    asked = 0

    def prepare() -> Draft:
        nonlocal asked
        asked += 1
        return draft()

    EventLogService(Crowded(clock, losses=5)).append(CHANNEL, prepare)

    assert asked == 6


def test_who_has_lost_twice_to_messages_is_asked_once_more_and_tries_on_in_one_call(
    clock: Clock,
) -> None:
    function = MeteredProcess(Crowded(clock, losses=7))
    asked = 0

    def prepare() -> Draft:
        nonlocal asked
        asked += 1
        return Draft(sender=ALICE, data=MessageCreatedData(text="x"), outlasts_messages=True)

    EventLogService(function).append(CHANNEL, prepare)

    # The head is read and the draft asked for at first and after two losses: five tries follow.
    assert (asked, function.calls) == (3, 3 + 8)


class RemovingAlice(Crowded):
    """The last who is faster takes alice out of the channel."""

    def _take(self, item: Item) -> None:
        removes = self.losses == 1 and "sender_id" in item
        super()._take({**item, "type": "member.left"} if removes else item)
        if removes:
            self.delete(Table.CHANNELS, keys.member_key(CHANNEL, "alice"))


@pytest.mark.parametrize("losses", range(1, 9))
def test_whoever_is_removed_while_others_are_faster_appends_nothing(
    clock: Clock, losses: int
) -> None:
    repository = RemovingAlice(clock, losses)
    repository.put(
        Table.CHANNELS,
        {
            **keys.member_key(CHANNEL, "alice"),
            "channel_id": CHANNEL,
            "user_id": "alice",
            "role": "member",
            "joined_at": "2026-01-01T00:00:00.000Z",
        },
    )
    alice = Caller(user_id="alice", expires_at=2**40)

    with pytest.raises(ChannelNotFoundError):
        MessagesService(repository).post(CHANNEL, alice, PostMessage(text="x"))

    assert EventLogService(repository).head(CHANNEL) == losses


def test_an_append_of_nothing_writes_nothing(repository: InMemoryRepository) -> None:
    assert EventLogService(repository).append(CHANNEL, lambda: None) is None
    assert repository.find(Table.CHAT_EVENTS, keys.event_key(CHANNEL, 1)) is None
