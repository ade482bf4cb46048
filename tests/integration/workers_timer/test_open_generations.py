"""Replies that nobody writes are woken or ended."""

import time

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import Item, Table, Update
from commons.records.generation import (
    WORTH_ANSWERING_MILLISECONDS,
    GenerationStep,
    OpenGeneration,
    StepCall,
)
from commons.records.timer import WATCH_SECONDS, TimerRecord
from commons.records.tool import CallStatus, ToolCallRecord
from commons.schemas.event import (
    AgentFailed,
    ChannelDeletedData,
    Event,
    MessageCreated,
    MessageCreatedData,
    Sender,
)
from commons.schemas.generation import GenerationRequest
from commons.services.crowding import PLACES
from commons.services.event_log import Draft, EventLogService
from commons.services.generation_endings import Ending, GenerationEndingsService
from commons.services.generations import GenerationsService
from workers_timer.composition import build_timers
from workers_timer.services.timers import TimersService
from workers_timer.settings import TimerSettings

CHANNEL = "abcdefghijklmnopqrstuv"


class Queue:
    def __init__(self) -> None:
        self.asked: list[GenerationRequest] = []
        self.crowded: list[GenerationRequest] = []

    def ask(self, request: GenerationRequest, *, is_crowded: bool) -> None:
        (self.crowded if is_crowded else self.asked).append(request)


class World:
    """A channel with one question whose reply is open."""

    def __init__(self, repository: InMemoryRepository) -> None:
        self.repository = repository
        self.queue = Queue()
        self.event_log = EventLogService(repository)
        self.generations = GenerationsService(repository, event_log=self.event_log)
        meta: Item = {
            **keys.channel_key(CHANNEL),
            "channel_id": CHANNEL,
            "name": "General",
            "created_at": "2026-01-01T00:00:00.000Z",
            "created_by": "alice",
            "member_count": 1,
            "owner_count": 1,
            "agent": {"model_id": "m"},
        }
        repository.put(Table.CHANNELS, meta)
        question = Draft(
            sender=Sender(id="alice", kind="user"), data=MessageCreatedData(text="question")
        )
        self.event_log.append(CHANNEL, lambda: question)
        self.generations.ask(CHANNEL, 1, "alice", correlation_id="correlation-1")

    @property
    def row(self) -> OpenGeneration:
        row = self.generations.find_open(CHANNEL, 1)
        assert row is not None
        return row

    def change(self, **attributes: object) -> None:
        self.repository.update(Table.CHANNELS, self.row.key, Update(set=attributes))

    def run(self) -> None:
        """As though every timer were due."""
        for timer in self.timers():
            self.repository.transact([timer.removal(), timer.model_copy(update={"due": 1}).write()])
        self._timers().run()

    def _timers(self) -> TimersService:
        settings = TimerSettings(
            websocket_callback_url="unused",
            agent_queue_url="unused",
            agent_crowded_queue_url="unused",
            maximum_concurrency=20,
        )
        return build_timers(
            settings,
            repository=self.repository,
            broadcaster=InMemoryBroadcaster(),
            queue=self.queue,
        )

    def timers(self) -> list[TimerRecord]:
        return [
            TimerRecord.model_validate(item)
            for item in self.repository.all_items(Table.CHANNELS)
            if str(item["pk"]).startswith("timer#")
        ]


@pytest.fixture
def world(repository: InMemoryRepository) -> World:
    return World(repository)


def test_a_reply_whose_message_was_lost_is_woken_again_and_again(world: World) -> None:
    world.run()
    world.run()

    assert [request.question_seq for request in world.queue.asked] == [1, 1]
    assert world.queue.asked[0].correlation_id == "correlation-1"
    assert len(world.timers()) == 1


def test_of_a_crowded_channel_those_that_have_no_place_are_woken_apart_from_everybodys(
    world: World,
) -> None:
    for seq in range(2, PLACES + 4):
        world.generations.ask(CHANNEL, seq, "alice", correlation_id=None)

    world.run()

    assert len(world.queue.asked) == PLACES
    assert {each.question_seq for each in world.queue.crowded} == {11, 12, 13}


def test_the_longer_nobody_comes_the_rarer_a_reply_is_woken(world: World) -> None:
    pauses = []
    for _ in range(7):
        world.run()
        (timer,) = world.timers()
        pauses.append(round(timer.due - time.time(), -1))

    assert pauses == [60, 120, 240, 480, 600, 600, 600]


def test_a_reply_that_somebody_took_is_looked_at_soon_again(world: World) -> None:
    for _ in range(3):
        world.run()
    world.change(status="running", fence=1, lease_until=epoch_milliseconds() + 60_000)

    world.run()

    (timer,) = world.timers()
    assert timer.due - time.time() <= WATCH_SECONDS


def test_a_reply_whose_worker_died_is_woken(world: World) -> None:
    world.change(status="running", fence=1, lease_until=epoch_milliseconds() - 1)

    world.run()

    assert len(world.queue.asked) == 1


def test_a_reply_that_is_being_written_is_left_alone(world: World) -> None:
    world.change(status="running", fence=1, lease_until=epoch_milliseconds() + 60_000)

    world.run()

    assert world.queue.asked == []
    assert len(world.timers()) == 1


def test_a_reply_that_has_ended_is_looked_after_no_more(world: World) -> None:
    world.generations.cancel_replies_to(CHANNEL, 1)

    world.run()

    assert world.queue.asked == []
    assert world.timers() == []


def test_a_question_that_nobody_answered_for_an_hour_ends(world: World) -> None:
    world.change(asked_at=epoch_milliseconds() - WORTH_ANSWERING_MILLISECONDS - 1)

    world.run()

    last = world.event_log.read(CHANNEL, after=1, limit=10).items[-1]
    assert isinstance(last, AgentFailed)
    assert last.data.reason == "timeout"
    assert world.timers() == []
    assert world.generations.list_open(CHANNEL) == []


def test_a_question_that_the_timer_ends_counts_as_one_that_the_agent_failed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.change(asked_at=epoch_milliseconds() - WORTH_ANSWERING_MILLISECONDS - 1)

    world.run()

    assert '"service":"workers_agent","stage":"test","AgentFailed":[1.0]' in capsys.readouterr().out


def test_a_text_that_was_finished_and_never_appended_is_appended(world: World) -> None:
    world.change(
        asked_at=epoch_milliseconds() - WORTH_ANSWERING_MILLISECONDS - 1,
        text="Finished.",
        finished={"finish_reason": "stop"},
    )

    world.run()

    last = world.event_log.read(CHANNEL, after=1, limit=10).items[-1]
    assert isinstance(last, MessageCreated)
    assert (last.data.text, last.data.finish_reason) == ("Finished.", "stop")


def test_a_reply_in_a_channel_that_is_gone_leaves_nothing(world: World) -> None:
    world.change(asked_at=epoch_milliseconds() - WORTH_ANSWERING_MILLISECONDS - 1)
    world.event_log.append(
        CHANNEL,
        lambda: Draft(sender=Sender(id="alice", kind="user"), data=ChannelDeletedData()),
    )

    world.run()

    assert world.generations.list_open(CHANNEL) == []


def test_a_reply_that_is_taken_while_it_is_ended_stays_looked_after(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.change(asked_at=epoch_milliseconds() - WORTH_ANSWERING_MILLISECONDS - 1)
    end = GenerationEndingsService.end

    def late(self: GenerationEndingsService, row: OpenGeneration, ending: Ending) -> Event:
        world.change(status="running", fence=1, lease_until=epoch_milliseconds() + 1_000)
        return end(self, row, ending)

    monkeypatch.setattr(GenerationEndingsService, "end", late)
    world.run()

    assert world.row.status == "running"
    assert len(world.timers()) == 1


def _waits_for_a_decision(world: World, status: CallStatus = "requested") -> None:
    """As a worker leaves a reply whose call somebody has to approve."""
    call = ToolCallRecord(
        channel_id=CHANNEL,
        call_id="call-1",
        question_seq=1,
        generation=1,
        step=0,
        position=0,
        tool="notes.add",
        approval="requester",
        requested_by="alice",
        status=status,
        requested_seq=2,
    )
    world.repository.put(Table.CHANNELS, {**call.key, **call.model_dump(exclude_none=True)})
    asked = StepCall(provider_call_id="a", tool=call.tool, call_id=call.call_id)
    step = GenerationStep(text="I note that.", calls=[asked])
    world.change(
        status="waiting",
        fence=1,
        text=step.text,
        steps=[step.model_dump(exclude_none=True)],
        step_count=1,
    )


def test_a_reply_that_waits_for_people_is_left_alone_however_long(world: World) -> None:
    _waits_for_a_decision(world)
    world.change(asked_at=epoch_milliseconds() - 10 * WORTH_ANSWERING_MILLISECONDS)

    for _ in range(5):
        world.run()

    assert world.queue.asked == []
    assert world.row.status == "waiting"
    (timer,) = world.timers()
    assert timer.due - time.time() <= 4 * WATCH_SECONDS


@pytest.mark.parametrize("status", ["approved", "denied", "expired"])
def test_a_reply_whose_decision_woke_nobody_is_woken(world: World, status: CallStatus) -> None:
    _waits_for_a_decision(world, status)

    world.run()

    assert [request.generation for request in world.queue.asked] == [1]


def test_a_cancelled_reply_that_nobody_has_ended_is_woken(world: World) -> None:
    _waits_for_a_decision(world)
    world.change(cancelled=True)

    world.run()

    assert len(world.queue.asked) == 1


def test_the_hour_of_a_reply_that_has_waited_begins_when_it_goes_on(world: World) -> None:
    long_ago = epoch_milliseconds() - 2 * WORTH_ANSWERING_MILLISECONDS
    world.change(asked_at=long_ago, resumed_at=epoch_milliseconds(), fence=1)

    world.run()

    assert world.row.status == "queued"
    assert len(world.queue.asked) == 1
