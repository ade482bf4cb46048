"""Whatever fails on the way, everybody who listens knows in the end who is there."""

import json
from collections.abc import Callable, Collection, Iterable
from functools import partial
from random import Random

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.faults import FailingRepository, Failure
from tests.doubles.repository import InMemoryRepository
from tests.support.thoroughness import SEQUENCES

from commons import keys
from commons.dal import Table
from commons.dynamodb.exceptions import StorageBusyError, StorageUnavailableError
from commons.realtime.broadcaster import BUDGET_SECONDS, Outcome, Post, Revalidate
from commons.schemas.lambda_events import StreamRecord
from workers_presence.schemas import Check
from workers_presence.services import changes, presence
from workers_presence.services.rooms import Room as Seen
from workers_presence.services.rooms import RoomsService

from .conftest import Room, WaitingChecks

CALLS = 9
"""More than a step of one user makes."""


class Crash(BaseException):
    """The process is gone: nothing catches this."""


class CrashingRepository(FailingRepository):
    """The process dies at the call that fails."""

    def _call[Answer](self, name: str, call: Callable[[], Answer]) -> Answer:
        try:
            return super()._call(name, call)
        except StorageUnavailableError:
            raise Crash from None


def again_after_a_crash(step: Callable[[], object]) -> None:
    try:
        step()
    except Crash:
        step()


@pytest.mark.parametrize("storage", [FailingRepository, CrashingRepository])
@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("at_call", range(1, CALLS))
def test_a_fault_between_any_two_calls_is_made_good(
    repository: InMemoryRepository,
    broadcaster: InMemoryBroadcaster,
    storage: type[FailingRepository],
    committed: bool,
    at_call: int,
) -> None:
    failing = storage(repository)
    room = Room(repository, broadcaster, worker_storage=failing)
    room.take(room.connect("carol", "carol"))
    told: dict[str, bool] = {}

    def make_good(record: StreamRecord) -> None:
        failing.arm(Failure(at_call, StorageBusyError, committed))
        again_after_a_crash(lambda: room.services.changes.take([record]))
        while checks := room.queue.due(10):
            again_after_a_crash(partial(room.hand_over, *checks))
        told.update(room.told())

    make_good(room.connect("alice", "a1"))
    assert told["alice"] is True
    make_good(room.disconnect("alice", "a1"))

    assert told["alice"] is False
    assert repository.find(Table.CONNECTIONS, keys.presence_key("C", "alice")) is None


class DyingBroadcaster(InMemoryBroadcaster):
    """The process dies after half of the posts of a `send` left."""

    dies = False

    def send(
        self,
        posts: Iterable[Post],
        *,
        budget_seconds: float = BUDGET_SECONDS,
        revalidate: Revalidate | None = None,
    ) -> Outcome:
        posts = list(posts)
        if not self.dies:
            return super().send(posts, budget_seconds=budget_seconds, revalidate=revalidate)
        self.dies = False
        super().send(posts[: len(posts) // 2], budget_seconds=budget_seconds)
        raise Crash


def test_who_left_before_a_crashed_arrival_is_found_again_is_offline_for_everybody(
    repository: InMemoryRepository,
) -> None:
    broadcaster = DyingBroadcaster()
    room = Room(repository, broadcaster)
    room.take(room.connect("carol", "carol"), room.connect("dora", "dora"))
    broadcaster.frames.clear()
    room.services.changes.take([room.connect("alice", "a1")])
    (arrival,) = room.queue.due(0)
    broadcaster.dies = True
    with pytest.raises(Crash):
        room.hand_over(arrival)
    room.take(room.disconnect("alice", "a1"))

    room.hand_over(arrival)
    room.after(5)

    assert {each[-1] for each in (room.told("carol"), room.told("dora"))} == {("alice", False)}


def test_a_departure_noted_while_an_arrival_is_checked_is_not_forgotten_with_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever subscribed in between read in the ack that alice was there."""
    came = room.connect("alice", "a1")
    left = room.disconnect("alice", "a1")
    look = RoomsService.look

    def leave_meanwhile(self: RoomsService, channel_id: str, user_ids: Collection[str]) -> Seen:
        seen = look(self, channel_id, user_ids)
        monkeypatch.undo()
        room.services.changes.take([left])
        return seen

    monkeypatch.setattr(RoomsService, "look", leave_meanwhile)
    room.take(came)

    room.after(5)

    assert room.told() == [("alice", False)]


def test_a_storage_outage_of_half_an_hour_parks_nothing(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_args: object, **_kwargs: object) -> object:
        raise StorageBusyError

    room.take(room.connect("bob", "b1"))
    room.told()
    left, came = room.disconnect("bob", "b1"), room.connect("alice", "a1")
    with monkeypatch.context() as outage:
        for call in ("batch_get", "update", "query"):
            outage.setattr(room.repository, call, silent)
        assert room.take(left, came) == []
        for _ in range(1_800 // 5):
            assert room.after(5) == []

    room.after(5)

    assert sorted(room.told()) == [("alice", True), ("bob", False)]


class BusyWorld:
    """Users come and go while three workers fail, die and overtake each other, by seed."""

    USERS = ("alice", "bob", "carol")

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - a test's seed
        self.queue = WaitingChecks()
        self.repository = InMemoryRepository()
        self.stream: list[StreamRecord] = []
        self.depth = 0
        self.is_calm = False
        self.is_read = False
        self.broadcaster = InMemoryBroadcaster()
        self.world = Room(self.repository, self.broadcaster)
        self.workers = [self.new_worker() for _ in range(3)]
        self.open: dict[str, str] = {}
        self.known: dict[str, dict[str, bool]] = {}
        self.names = 0

    def new_worker(self) -> Room:
        return Room(
            self.repository,
            UnrulyBroadcaster(self),
            queue=self.queue,
            clock=self.world.clock,
            worker_storage=UnrulyRepository(self),
        )

    def come(self) -> None:
        user = self.random.choice(self.USERS)
        self.names += 1
        name = f"{user}-{self.names}"
        self.stream.append(self.world.connect(user, name))
        self.open[name] = user
        self.known[name] = dict.fromkeys(self.open.values(), True)

    def go(self) -> None:
        if not self.open:
            return
        name = self.random.choice(sorted(self.open))
        self.stream.append(self.world.disconnect(self.open.pop(name), name))
        self.hear()
        del self.known[name]

    def work(self) -> None:
        """One of the workers takes something, and may die of it."""
        if self.depth == len(self.workers):
            return
        worker = self.workers[self.depth]
        self.depth += 1
        try:
            if self.stream and not self.is_read and self.random.random() < 0.5:
                self.read_stream(worker)
                return
            due = sorted(self.queue.due(self.random.choice((0, 0, 1, 5))), key=Check.to_json)
            if due:
                self.consume(worker, due)
        except Crash:
            self.workers[self.depth - 1] = self.new_worker()
        finally:
            self.depth -= 1

    def read_stream(self, worker: Room) -> None:
        """A shard is read by one worker at a time."""
        count = self.random.randint(1, len(self.stream))
        self.is_read = True
        try:
            if not worker.services.changes.take(self.stream[:count]):
                del self.stream[:count]
        finally:
            self.is_read = False

    def consume(self, worker: Room, due: list[Check]) -> None:
        try:
            failed = worker.hand_over(*due)
        except Crash:
            self.queue.put(dict.fromkeys(due, 5))
            raise
        self.queue.put({due[int(number)]: 5 for number in failed})

    def unrest(self) -> None:
        """Between any two calls of a worker others work, it dies, or storage is busy."""
        if self.is_calm:
            return
        chance = self.random.random()
        if chance < 0.2:
            self.work()
        elif chance < 0.22:
            raise Crash
        elif chance < 0.24:
            raise StorageBusyError
        elif chance < 0.3:
            self.come()
        elif chance < 0.36:
            self.go()

    def hear(self) -> None:
        for name, frames in self.broadcaster.frames.items():
            for frame in map(json.loads, frames):
                if name in self.known:
                    self.known[name][frame["userId"]] = frame["online"]
        self.broadcaster.frames.clear()

    def calm_down(self) -> None:
        self.is_calm = True
        while self.stream or self.queue.waiting:
            self.work()


class UnrulyRepository(FailingRepository):
    def __init__(self, world: BusyWorld) -> None:
        super().__init__(world.repository)
        self._world = world
        self._is_dead = False

    def _call[Answer](self, _name: str, call: Callable[[], Answer]) -> Answer:
        if self._is_dead:
            raise Crash
        try:
            self._world.unrest()
            answer = call()
            self._world.unrest()
        except Crash:
            self._is_dead = True
            raise
        return answer


class UnrulyBroadcaster(InMemoryBroadcaster):
    def __init__(self, world: BusyWorld) -> None:
        super().__init__()
        self._world = world

    def send(
        self,
        posts: Iterable[Post],
        *,
        budget_seconds: float = BUDGET_SECONDS,  # noqa: ARG002 - takes no time
        revalidate: Revalidate | None = None,  # noqa: ARG002 - nobody is removed
    ) -> Outcome:
        posts, world = list(posts), self._world
        try:
            world.unrest()
        except StorageBusyError:
            return Outcome(failed=frozenset(post.connection_id for post in posts))
        missed = {post.connection_id for post in posts if world.random.random() < 0.1}
        taken = [post for post in posts if post.connection_id not in missed or world.is_calm]
        world.broadcaster.send(taken)
        return Outcome(delivered=len(taken), failed=frozenset(() if world.is_calm else missed))


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_after_any_unrest_everybody_knows_who_is_there(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One thread a worker, so that a seed always plays the same.
    for module in (changes, presence):
        monkeypatch.setattr(module, "_AT_ONCE", 1)
    world = BusyWorld(seed)

    for _ in range(60):
        world.random.choice((world.come, world.go, world.work, world.work))()
    world.calm_down()
    world.hear()

    there = set(world.open.values())
    for name, known in world.known.items():
        assert {user for user, online in known.items() if online} == there, name
