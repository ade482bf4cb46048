"""The timer does what is due, whatever failed or was missed before."""

import json

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.clock import epoch_milliseconds, epoch_seconds
from commons.dal import DynamoDBRepository, IRepository, Key, Query, Table, Update, Write
from commons.dynamodb.exceptions import StorageBusyError
from commons.records.timer import TimerKind, TimerRecord
from commons.schemas.caller import Caller
from commons.services.connections import ConnectionsService
from workers_timer.composition import build_timers
from workers_timer.services.timers import RUN_SECONDS, TimersService
from workers_timer.settings import TimerSettings

CHANNEL = "abcdefghijklmnopqrstuv"


@pytest.fixture(params=["memory", "dynamodb"])
def storage(request: pytest.FixtureRequest) -> IRepository:
    name = "repository" if request.param == "memory" else "moto_repository"
    chosen: InMemoryRepository | DynamoDBRepository = request.getfixturevalue(name)
    return chosen


class Recording:
    """A kind that remembers what it was asked, and fails as often as it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.subjects: list[str] = []
        self.error = error

    @property
    def kind(self) -> TimerKind:
        return "channel.clear"

    def handle(self, timer: TimerRecord) -> None:
        self.subjects.append(timer.subject)
        if self.error is not None:
            raise self.error


def schedule(
    storage: IRepository, subject: str, *, due_in: int, kind: str = "channel.clear"
) -> None:
    timer = TimerRecord(kind=kind, subject=subject, due=epoch_seconds() + due_in)
    storage.transact([timer.write()])


def waiting(storage: IRepository) -> list[TimerRecord]:
    return [
        TimerRecord.model_validate(row)
        for shard in range(keys.TIMER_SHARDS)
        for row in storage.iterate(
            Query(table=Table.CHANNELS, partition=keys.timer_partition(shard))
        )
    ]


def test_what_is_due_is_done_once_however_long_nobody_looked(storage: IRepository) -> None:
    for number in range(12):
        schedule(storage, f"late-{number}", due_in=-3_600 * number)
    schedule(storage, "early", due_in=30)
    kind = Recording()

    TimersService(storage, kinds=[kind]).run()
    TimersService(storage, kinds=[kind]).run()

    assert sorted(kind.subjects) == sorted(f"late-{number}" for number in range(12))
    assert [timer.subject for timer in waiting(storage)] == ["early"]


def test_what_storage_did_is_done_by_the_next_run(repository: InMemoryRepository) -> None:
    schedule(repository, "a", due_in=-1)
    kind = Recording(StorageBusyError("busy"))
    TimersService(repository, kinds=[kind]).run()

    kind.error = None
    TimersService(repository, kinds=[kind]).run()

    assert kind.subjects == ["a", "a"]
    assert waiting(repository) == []


def test_one_that_fails_waits_longer_each_time_and_holds_up_no_other(
    repository: InMemoryRepository,
) -> None:
    schedule(repository, "a", due_in=-1)
    TimersService(repository, kinds=[Recording(ValueError("a text"))]).run()
    (first,) = waiting(repository)
    repository.transact([first.removal()])
    later = first.model_copy(update={"due": epoch_seconds() - 1})
    repository.transact([later.write()])

    TimersService(repository, kinds=[Recording(ValueError("a text"))]).run()

    (second,) = waiting(repository)
    assert (first.tries, second.tries) == (1, 2)
    assert second.due - epoch_seconds() > 100 > first.due - epoch_seconds() > 50


def test_a_kind_of_a_newer_version_is_left_to_it(repository: InMemoryRepository) -> None:
    schedule(repository, "a", due_in=-1, kind="tomorrow")

    TimersService(repository, kinds=[Recording()]).run()

    assert [timer.kind for timer in waiting(repository)] == ["tomorrow"]


def test_what_is_not_begun_in_time_stays_for_the_next_run(repository: InMemoryRepository) -> None:
    schedule(repository, "a", due_in=-1)
    moments = iter([0.0, RUN_SECONDS + 1])
    kind = Recording()

    TimersService(repository, kinds=[kind], clock=lambda: next(moments)).run()

    assert kind.subjects == []
    assert len(waiting(repository)) == 1


def test_a_deleted_channel_is_cleared_and_its_listeners_are_told(storage: IRepository) -> None:
    caller = Caller(user_id="bob", expires_at=2**40)
    rows: list[tuple[Key, dict[str, object]]] = [
        (keys.channel_key(CHANNEL), {"channel_id": CHANNEL}),
        (
            keys.member_key(CHANNEL, "bob"),
            {"channel_id": CHANNEL, "user_id": "bob", "role": "member", "joined_at": "-"},
        ),
        (keys.user_channel_key("bob", CHANNEL), {"channel_id": CHANNEL, "user_id": "bob"}),
    ]
    for key, row in rows:
        storage.put(Table.CHANNELS, {**key, **row})
    connections = ConnectionsService(storage)
    moment = epoch_milliseconds()
    connections.register("c1", caller, connected_at=moment - 60_000, channels=[CHANNEL])
    storage.update(Table.CHANNELS, keys.channel_key(CHANNEL), Update(set={"deleted": True}))
    writes: list[Write] = [TimerRecord.of_deleted_channel(CHANNEL, epoch_seconds() - 60).write()]
    storage.transact(writes)
    broadcaster = InMemoryBroadcaster()
    settings = TimerSettings(
        websocket_callback_url="http://127.0.0.1:9",
        agent_queue_url="unused",
        agent_crowded_queue_url="unused",
        maximum_concurrency=20,
    )

    build_timers(settings, repository=storage, broadcaster=broadcaster).run()

    assert [json.loads(frame) for frame in broadcaster.frames["c1"]] == [
        {"type": "unsubscribed", "channelId": CHANNEL, "reason": "deleted"}
    ]
    assert connections.subscriptions(CHANNEL) == []
    left = storage.iterate(Query(table=Table.CHANNELS, partition=keys.channel_partition(CHANNEL)))
    assert [row["sk"] for row in left] == ["meta"]
    assert storage.find(Table.CHANNELS, keys.user_channel_key("bob", CHANNEL)) is None
    assert waiting(storage) == []
