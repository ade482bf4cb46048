"""Ten people who post into one channel without a pause, and its owner, in virtual time.

Each request is served by a warm function that no other request is at, with heads of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Protocol
from unittest.mock import patch

from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.repository import InMemoryRepository
from tests.doubles.virtual_time import VirtualTime
from tests.integration.log.unreliable import UnreliableRepository

from commons import keys
from commons.dal import Condition, IRepository, Item, Table, Write
from commons.dynamodb.exceptions import ConditionFailedError, TransactionCanceledError
from commons.observability import metrics
from commons.schemas.caller import Caller
from commons.schemas.message import PostMessage
from commons.services import append, event_log
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.event_log import Timing
from commons.services.messages import MessagesService
from commons.services.subscriptions_ending import SubscriptionsEndingService
from rest_api.services.deletions import DeletionsService
from rest_api.services.edits import EditsService
from rest_api.services.members import MembersService
from rest_api.services.reactions import ReactionsService

CHANNEL: Final = "abcdefghijklmnopqrstuv"
SECONDS: Final = 15.0
PAUSE_SECONDS: Final = 0.1
"""Between two writes of the owner."""

SPARE_WORKERS: Final = 4
ALICE: Final = Caller(user_id="alice", name="Alice", expires_at=2**40)
BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Line(Protocol):
    """How long it takes until something is served."""

    def take_request(self) -> None: ...

    def call[Answer](self, call: Callable[[], Answer], *, is_transaction: bool) -> Answer: ...


class FarTables:
    """DynamoDB as AWS has it: any number of calls at once, and a transaction is slower than a put."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time

    def take_request(self) -> None:
        pass

    def call[Answer](self, call: Callable[[], Answer], *, is_transaction: bool) -> Answer:
        seconds = self._time.chance.uniform(*((0.008, 0.020) if is_transaction else (0.003, 0.008)))
        committing = 0.7 if is_transaction else 0.5
        self._time.sleep(committing * seconds)
        try:
            return call()
        finally:
            self._time.sleep((1 - committing) * seconds)


class OneServer:
    """The emulator: one process that serves every call and every request, one after the other."""

    CALL_SECONDS: Final = 0.004
    TRANSACTION_SECONDS: Final = 0.006
    REQUEST_SECONDS: Final = 0.006

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._free_at = 0.0

    def take_request(self) -> None:
        self._serve(self.REQUEST_SECONDS)

    def call[Answer](self, call: Callable[[], Answer], *, is_transaction: bool) -> Answer:
        self._time.sleep(0.001)
        self._serve(self.TRANSACTION_SECONDS if is_transaction else self.CALL_SECONDS)
        try:
            return call()
        finally:
            self._time.sleep(0.001)

    def _serve(self, seconds: float) -> None:
        begins = max(self._free_at, self._time.now)
        self._free_at = begins + seconds * self._time.chance.uniform(0.6, 1.6)
        self._time.sleep(self._free_at - self._time.now)


class _Process(UnreliableRepository):
    """A warm function's own way to the tables; counts what it lost."""

    def __init__(self, tables: IRepository, line: Line) -> None:
        super().__init__(tables)
        self._line = line
        self._is_transaction = False
        self.lost_tries = 0
        self.lost_units = 0

    def _call[Answer](
        self,
        call: Callable[[], Answer],
        *,
        is_repeated_by_sdk: bool = False,  # noqa: ARG002 - the base's
    ) -> Answer:
        is_transaction, self._is_transaction = self._is_transaction, False
        return self._line.call(call, is_transaction=is_transaction)

    def put(self, table: Table, item: Item, *, condition: Condition | None = None) -> None:
        try:
            super().put(table, item, condition=condition)
        except ConditionFailedError:
            self._lose(1)
            raise

    def transact(self, writes: Sequence[Write]) -> None:
        self._is_transaction = True
        try:
            super().transact(writes)
        except TransactionCanceledError:
            self._lose(2 * len(writes))
            raise

    def _lose(self, units: int) -> None:
        """Every item here is below 1 KB."""
        self.lost_tries += 1
        self.lost_units += units


class _Worker:
    """The services of one warm function."""

    def __init__(self, tables: IRepository, line: Line) -> None:
        self.storage = _Process(tables, line)
        self.messages = MessagesService(self.storage)
        self.edits = EditsService(self.storage)
        self.reactions = ReactionsService(self.storage)
        self.deletions = DeletionsService(self.storage)
        broadcasts = ChannelBroadcastService(self.storage, broadcaster=InMemoryBroadcaster())
        ending = SubscriptionsEndingService(self.storage, broadcasts=broadcasts)
        self.members = MembersService(self.storage, subscriptions=ending, max_members=1_000)


@dataclass(frozen=True)
class CrowdWrite:
    """One request that wrote."""

    kind: str
    seconds: float
    lost_tries: int
    lost_units: int


class Crowd:
    """See above.

    Args:
        line: between functions and tables.
        posters: every other one gives an id with each message.
    """

    def __init__(
        self, line: Callable[[VirtualTime], Line], *, seed: int, posters: int = 10
    ) -> None:
        self._time = VirtualTime(seed)
        self._line = line(self._time)
        self._posters = posters
        self._tables = _with_channel()
        self.writes: list[CrowdWrite] = []

    def run(self) -> list[CrowdWrite]:
        """All that was written in `SECONDS`."""
        with self._in_virtual_time():
            self._idle = [
                _Worker(self._tables, self._line) for _ in range(self._posters + SPARE_WORKERS)
            ]
            for number in range(self._posters):
                self._time.begin(partial(self._post, number))
            self._time.begin(self._moderate)
            self._time.run()
        return self.writes

    @contextmanager
    def _in_virtual_time(self) -> Iterator[None]:
        timing = Timing(
            clock=lambda: self._time.now,
            sleep=self._time.sleep,
            jitter=lambda most: self._time.chance.uniform(0, most),
        )

        def at() -> datetime:
            return BEGINNING + timedelta(seconds=self._time.now)

        with (
            patch.object(event_log, "Timing", lambda: timing),
            patch.object(event_log, "now", at),
            patch.object(append, "now", at),
        ):
            yield

    def _request[Answer](self, kind: str, serve: Callable[[_Worker], Answer]) -> Answer:
        began = self._time.now
        worker = self._idle.pop()
        storage = worker.storage
        storage.lost_tries = storage.lost_units = 0
        self._line.take_request()
        answer = serve(worker)
        self._idle.append(worker)
        took = self._time.now - began
        self.writes.append(CrowdWrite(kind, took, storage.lost_tries, storage.lost_units))
        metrics.clear_metrics()
        return answer

    def _post(self, number: int) -> None:
        sent = 0
        while self._time.now < SECONDS:
            sent += 1
            self._say("x" * 200, message_id=f"{number}-{sent}" if number % 2 == 0 else None)

    def _moderate(self) -> None:
        while self._time.now < SECONDS:
            seq = self._say("first")
            for kind, write in _moderation(seq):
                self._time.sleep(PAUSE_SECONDS)
                self._request(kind, write)

    def _say(self, text: str, *, message_id: str | None = None) -> int:
        message = PostMessage(text=text, client_message_id=message_id)
        return self._request(
            "post" if message_id is None else "post with an id",
            lambda worker: worker.messages.post(CHANNEL, ALICE, message).event.seq,
        )


def _moderation(seq: int) -> Iterator[tuple[str, Callable[[_Worker], object]]]:
    yield "edit", lambda at: at.edits.edit(CHANNEL, ALICE, seq, "second")
    yield "react", lambda at: at.reactions.add(CHANNEL, ALICE, seq, "+")
    yield "delete", lambda at: at.deletions.delete(CHANNEL, ALICE, seq)
    yield "add a member", lambda at: at.members.put(CHANNEL, ALICE, "eve", "member")
    yield "remove a member", lambda at: at.members.remove(CHANNEL, ALICE, "eve")


def _with_channel() -> InMemoryRepository:
    tables = InMemoryRepository()
    tables.put(
        Table.CHANNELS,
        {
            **keys.channel_key(CHANNEL),
            "channel_id": CHANNEL,
            "name": "Room",
            "created_at": "2026-01-01T00:00:00.000Z",
            "created_by": "alice",
            "agent": {"model_id": "none"},
            "member_count": 1,
            "owner_count": 1,
        },
    )
    tables.put(
        Table.CHANNELS,
        {
            **keys.member_key(CHANNEL, "alice"),
            "channel_id": CHANNEL,
            "user_id": "alice",
            "role": "owner",
            "joined_at": "2026-01-01T00:00:00.000Z",
        },
    )
    return tables
