"""How long writes of every kind take while many post into one channel without a pause.

Each writer is a process of its own, with heads of its own, on storage that answers as late as
DynamoDB does. Times depend on the machine; the write units that are lost do not depend much.
"""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from statistics import quantiles
from typing import Final

from tests.doubles.repository import InMemoryRepository
from tests.doubles.sizes import WRITE_UNIT_BYTES, item_size

from commons.dal import (
    Condition,
    IRepository,
    Item,
    Key,
    Page,
    PutWrite,
    Query,
    Table,
    Update,
    Write,
)
from commons.dynamodb.exceptions import ConditionFailedError, TransactionCanceledError
from commons.observability import metrics
from commons.schemas.caller import Caller
from commons.schemas.message import PostMessage
from commons.services.messages import MessagesService
from rest_api.schemas import CreateChannel
from rest_api.services.channels import ChannelsService
from rest_api.services.deletions import DeletionsService
from rest_api.services.edits import EditsService
from rest_api.services.members import MembersService
from rest_api.services.reactions import ReactionsService

POSTERS: Final = 10
SECONDS: Final = 10.0
LIMIT_SECONDS: Final = 2.0
"""The budget of the 99th percentile."""

CALL_SECONDS: Final = (0.003, 0.008)
TRANSACTION_SECONDS: Final = (0.008, 0.020)
ALICE: Final = Caller(user_id="alice", name="Alice", expires_at=2**40)


@dataclass
class Lost:
    """Write units of tries that came to nothing."""

    write_units: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, items: Sequence[Item], factor: int) -> None:
        units = sum(ceil(item_size(item) / WRITE_UNIT_BYTES) * factor for item in items)
        with self.lock:
            self.write_units += units


class Remote:
    """A process's own way to shared tables: every call takes its time."""

    def __init__(self, tables: InMemoryRepository, lost: Lost) -> None:
        self._tables = tables
        self._lost = lost

    def _wait(self, bounds: tuple[float, float] = CALL_SECONDS) -> None:
        time.sleep(random.uniform(*bounds))  # noqa: S311 - no secret

    def get(self, table: Table, key: Key, *, consistent: bool = False) -> Item:
        self._wait()
        return self._tables.get(table, key, consistent=consistent)

    def find(self, table: Table, key: Key, *, consistent: bool = False) -> Item | None:
        self._wait()
        return self._tables.find(table, key, consistent=consistent)

    def batch_get(
        self, table: Table, keys: Sequence[Key], *, consistent: bool = False
    ) -> list[Item]:
        self._wait()
        return self._tables.batch_get(table, keys, consistent=consistent)

    def put(self, table: Table, item: Item, *, condition: Condition | None = None) -> None:
        self._wait()
        try:
            self._tables.put(table, item, condition=condition)
        except ConditionFailedError:
            self._lost.add([item], 1)
            raise

    def update(
        self, table: Table, key: Key, update: Update, *, condition: Condition | None = None
    ) -> Item:
        self._wait()
        return self._tables.update(table, key, update, condition=condition)

    def delete(self, table: Table, key: Key, *, condition: Condition | None = None) -> None:
        self._wait()
        self._tables.delete(table, key, condition=condition)

    def batch_delete(self, table: Table, keys: Sequence[Key]) -> None:
        self._wait()
        self._tables.batch_delete(table, keys)

    def query(self, query: Query) -> Page:
        self._wait()
        return self._tables.query(query)

    def iterate(self, query: Query) -> Iterator[Item]:
        self._wait()
        return self._tables.iterate(query)

    def transact(self, writes: Sequence[Write]) -> None:
        self._wait(TRANSACTION_SECONDS)
        try:
            self._tables.transact(writes)
        except TransactionCanceledError:
            puts = [write.item for write in writes if isinstance(write, PutWrite)]
            self._lost.add(puts, 2)
            raise


type Processes = Callable[[], IRepository]
type Channels = Callable[[IRepository], ChannelsService]
type Members = Callable[[IRepository], MembersService]


def run(channels: Channels, members: Members) -> list[dict[str, object]]:
    """A row a kind of write."""
    tables, lost = InMemoryRepository(), Lost()

    def process() -> IRepository:
        return Remote(tables, lost)

    created = channels(tables).create(ALICE, CreateChannel(name="Room", members=["bob"]))
    crowd = _Crowd(created.channel.content.channel_id, process, members)
    took = crowd.run()
    appends = sum(map(len, took.values()))
    return [
        {
            "write": kind,
            "times": len(each),
            "p50 ms": round(quantiles(each, n=100)[49] * 1_000),
            "p99 ms": round(quantiles(each, n=100)[98] * 1_000),
            "max ms": round(max(each) * 1_000),
            "lost WCU an append": round(lost.write_units / appends, 2),
            "met": "yes" if quantiles(each, n=100)[98] <= LIMIT_SECONDS else "NO",
        }
        for kind, each in took.items()
    ]


class _Crowd:
    """Ten who post without a pause, and one who does everything else."""

    def __init__(self, channel_id: str, process: Processes, members: Members) -> None:
        self._channel_id = channel_id
        self._process = process
        self._members = members
        self._took: dict[str, list[float]] = defaultdict(list)
        self._until = time.monotonic() + SECONDS

    def run(self) -> dict[str, list[float]]:
        with ThreadPoolExecutor(POSTERS + 1) as threads:
            moderating = threads.submit(self._moderate)
            posting = [threads.submit(self._post, number) for number in range(POSTERS)]
            for future in (moderating, *posting):
                future.result()
        metrics.clear_metrics()
        return self._took

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._took[kind].append(time.monotonic() - began)

    def _post(self, number: int) -> None:
        messages = MessagesService(self._process())
        sent = 0
        while time.monotonic() < self._until:
            sent += 1
            has_id = number % 2 == 0
            message = PostMessage(
                text="x" * 200, client_message_id=f"{number}-{sent}" if has_id else None
            )
            with self._timed("post with an id" if has_id else "post"):
                messages.post(self._channel_id, ALICE, message)

    def _moderate(self) -> None:
        storage = self._process()
        messages, edits = MessagesService(storage), EditsService(storage)
        reactions, deletions = ReactionsService(storage), DeletionsService(storage)
        members = self._members(storage)
        channel = self._channel_id
        while time.monotonic() < self._until:
            seq = messages.post(channel, ALICE, PostMessage(text="first")).event.seq
            with self._timed("edit"):
                edits.edit(channel, ALICE, seq, "second")
            with self._timed("react"):
                reactions.add(channel, ALICE, seq, "+")
            with self._timed("delete"):
                deletions.delete(channel, ALICE, seq)
            with self._timed("add a member"):
                members.put(channel, ALICE, "eve", "member")
            with self._timed("remove a member"):
                members.remove(channel, ALICE, "eve")
