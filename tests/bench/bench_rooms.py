"""Rooms of 100 to 100,000: one event to everybody, through the delivery worker as the handler builds it.

The management API answers after 10 ms, storage at once; both are processes of their own. A full room is
spread over its shards by one batch of the stream (`streamMs`), and each shard's message is then done by
itself, one after the other, as so many workers would side by side: `workerMs` is the slowest of them. The
queue between the two is not here. `otherMs` is how long another channel of the same batch waits. A room
of 0 shards filled while nobody spoke: all of it lies in the first.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import boto3
import urllib3
from botocore.config import Config
from tests.bench import report
from tests.bench.bench_fanout import Endpoint, null_endpoint
from tests.bench.stub_storage import ROOM

from commons.clock import now, rfc3339
from commons.dal import DynamoDBRepository, Table
from commons.observability import metrics
from commons.realtime.broadcaster import Broadcaster
from commons.schemas.event import Event, MessageCreated, MessageCreatedData, Sender
from commons.schemas.lambda_events import QueueRecord
from workers_delivery.composition import build_services
from workers_delivery.schemas import CatchUp, Departed, ParkedRange, RoomRange
from workers_delivery.services.delivery import DeliveryService

SECTION: Final = "rooms"
ROOMS: Final = ((100, 1), (1_000, 1), (10_000, 0), (10_000, 16), (100_000, 256))
OTHER: Final = "other-other-other-othe"
REPEATS: Final = 3
MOST_REPEATED: Final = 10_000
PAGES_UNSPREAD: Final = 4 + 1 + 3
"""The 10,000 subscriptions; how full the room is; the shards that it has just got."""
BUDGET_UNSPREAD_MS: Final = 2_500
BUDGET_WORKER_MS: Final = 500
BUDGET_OTHER_MS: Final = 1_000


@dataclass
class Queue:
    """Keeps the messages of full rooms; nothing else is sent here."""

    ranges: list[RoomRange] = field(default_factory=list)

    def park(self, parked: ParkedRange) -> None:
        raise AssertionError(parked)

    def send_ranges(self, ranges: Sequence[RoomRange]) -> None:
        self.ranges += ranges

    def send_catch_up(self, subscriptions: Sequence[CatchUp]) -> None:
        assert not subscriptions, f"{len(subscriptions)} connections were too slow"

    def send_departed(self, users: Sequence[Departed]) -> None:
        raise AssertionError(users)

    def finish(self, records: Sequence[QueueRecord]) -> None:
        """Nobody waits behind them."""

    def retry(self, records: Sequence[QueueRecord]) -> None:
        raise AssertionError(records)


@dataclass(frozen=True)
class Measured:
    stream_ms: float
    worker_ms: float
    other_ms: float
    pages: int
    posts: int
    cpu_microseconds: float


@dataclass(frozen=True)
class Stub:
    url: str
    http: urllib3.PoolManager

    def pages(self) -> int:
        answer: dict[str, int] = json.loads(self.http.request("GET", self.url).data)
        return answer["pages"]


@contextmanager
def stub_storage(listeners: int, shards: int) -> Iterator[Stub]:
    command = [sys.executable, "-m", "tests.bench.stub_storage", str(listeners), str(shards)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        yield Stub(f"http://127.0.0.1:{port}", urllib3.PoolManager())
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


def event(channel_id: str, seq: int) -> Event:
    return MessageCreated(
        channel_id=channel_id,
        seq=seq,
        created_at=rfc3339(now()),
        sender=Sender(id="alice", kind="user"),
        data=MessageCreatedData(text="x" * 230),
    )


def measure(
    delivery: DeliveryService, queue: Queue, endpoint: Endpoint, storage: Stub, seq: int
) -> Measured:
    posts_before, _ = endpoint.stats()
    pages_before, cpu = storage.pages(), time.process_time()
    began = time.perf_counter()
    delivery.deliver({ROOM: {seq: event(ROOM, seq)}})
    stream = time.perf_counter() - began
    workers: list[float] = []
    ranges, queue.ranges = queue.ranges, []
    for asked in ranges:
        began = time.perf_counter()
        delivery.deliver_range(asked)
        workers.append(time.perf_counter() - began)
    cpu = time.process_time() - cpu
    posts, _ = endpoint.stats()
    pages = storage.pages() - pages_before
    began = time.perf_counter()
    delivery.deliver({ROOM: {seq: event(ROOM, seq)}, OTHER: {seq: event(OTHER, seq)}})
    other = time.perf_counter() - began
    queue.ranges = []
    return Measured(
        stream_ms=stream * 1e3,
        worker_ms=max(workers, default=0.0) * 1e3,
        other_ms=other * 1e3,
        pages=pages,
        posts=posts - posts_before,
        cpu_microseconds=cpu / max(posts - posts_before, 1) * 1e6,
    )


def run() -> list[dict[str, object]]:
    session = boto3.Session("AKID", "secret", "token", region_name="eu-west-1")
    rows: list[dict[str, object]] = []
    with null_endpoint() as endpoint:
        for listeners, shards in ROOMS:
            with stub_storage(listeners, shards) as storage:
                client = session.client(
                    "dynamodb", endpoint_url=storage.url, config=Config(max_pool_connections=50)
                )
                queue = Queue()
                delivery = build_services(
                    DynamoDBRepository({each: f"bench-{each}" for each in Table}, client=client),
                    # Nobody is slow here but a machine that has other work.
                    gateway=Broadcaster(endpoint.url, session=session),
                    patient=Broadcaster(endpoint.url, session=session),
                    queues=queue,
                ).delivery
                # What a cold process does first is not measured; in the fullest room it is little.
                first = 1 if listeners > MOST_REPEATED else 0
                runs = [
                    measure(delivery, queue, endpoint, storage, seq)
                    for seq in range(first, 2 if first else REPEATS + 1)
                ][1 - first :]
            best = sorted(runs, key=lambda each: each.worker_ms + each.stream_ms)[len(runs) // 2]
            assert best.posts >= listeners, (best.posts, listeners)
            rows.append(
                {
                    "listeners": listeners,
                    "shards": shards,
                    "pages": best.pages,
                    "posts": best.posts,
                    "streamMs": best.stream_ms,
                    "workerMs": best.worker_ms,
                    "lastListenerMs": best.stream_ms + best.worker_ms,
                    "otherMs": best.other_ms,
                    "cpuMicrosecondsPerPost": best.cpu_microseconds,
                }
            )
            metrics.clear_metrics()
    return rows


def main() -> bool:
    """Prints and saves the figures; False where a budget is missed."""
    rows = run()
    report.table("Rooms: one event to everybody", rows)
    report.save(SECTION, rows)
    missed = [
        f"{row['listeners']} listeners, {row['shards']} shards: {name}"
        for row in rows
        for name, most in (
            ("workerMs", BUDGET_WORKER_MS if row["shards"] else BUDGET_UNSPREAD_MS),
            ("otherMs", BUDGET_OTHER_MS),
            ("pages", row["shards"] + 1 if row["shards"] else PAGES_UNSPREAD),  # type: ignore[operator]
        )
        if row[name] > most  # type: ignore[operator]  # figures
    ]
    sys.stdout.write(f"budgets: {'met' if not missed else f'MISSED by {", ".join(missed)}'}\n")
    return not missed


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
