"""Fan-out: the broadcaster against boto3, one by one and in 32 threads, on a null endpoint.

Every row is one event of some 300 bytes to so many connections, part of them gone. The endpoint
answers after 10 ms and is a process of its own; `endpointBusy` says how much of its time it worked.
boto3 one by one is measured at 1,000 connections at most: its rate does not depend on the number.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3
import urllib3
from botocore.config import Config
from tests.bench import report

from commons.realtime.broadcaster import Broadcaster, Post

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

SECTION: Final = "fanout"
CONNECTIONS: Final = (10, 100, 1_000, 5_000)
GONE_PERCENT: Final = (0, 10, 50)
MOST_ONE_BY_ONE: Final = 1_000
REPEATS: Final = 3
BUDGET_ONE_BY_ONE: Final = 35.0
BUDGET_THREADS: Final = 3.5
BUDGET_CONNECTIONS: Final = 1_000
FRAME: Final = b'{"type":"events","events":[{"channelId":"%s","text":"%s"}]}' % (
    b"c" * 22,
    b"x" * 230,
)

type FanOut = Callable[[list[str]], tuple[int, int]]
"""Sends the frame to connections; returns how many took it, and how many were gone."""


@dataclass(frozen=True)
class Measured:
    posts_per_second: float
    cpu_microseconds: float
    endpoint_busy: float


class Endpoint:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/bench"
        self._http = urllib3.PoolManager()

    def stats(self) -> tuple[int, float]:
        answer = json.loads(self._http.request("GET", f"{self.url}/stats").data)
        return answer["posts"], answer["cpuSeconds"]


@contextmanager
def null_endpoint() -> Iterator[Endpoint]:
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("null_endpoint.py"))],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Endpoint(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


def one_by_one(client: "ApiGatewayManagementApiClient") -> FanOut:
    def send(connections: list[str]) -> tuple[int, int]:
        gone = sum(not _post(client, connection_id) for connection_id in connections)
        return len(connections) - gone, gone

    return send


def in_threads(client: "ApiGatewayManagementApiClient", threads: ThreadPoolExecutor) -> FanOut:
    def send(connections: list[str]) -> tuple[int, int]:
        taken = sum(threads.map(lambda connection_id: _post(client, connection_id), connections))
        return taken, len(connections) - taken

    return send


def _post(client: "ApiGatewayManagementApiClient", connection_id: str) -> bool:
    try:
        client.post_to_connection(ConnectionId=connection_id, Data=FRAME)
    except client.exceptions.GoneException:
        return False
    return True


def broadcast(broadcaster: Broadcaster) -> FanOut:
    def send(connections: list[str]) -> tuple[int, int]:
        outcome = broadcaster.send(
            [Post(connection_id, (FRAME,)) for connection_id in connections], budget_seconds=60
        )
        return outcome.delivered, len(outcome.gone)

    return send


def connections_of(count: int, gone_percent: int) -> list[str]:
    """Ids as API Gateway makes them; the gone ones spread among the others."""
    gone = {index for index in range(count) if index * gone_percent % 100 < gone_percent}
    return [f"{'gone' if index in gone else 'open'}{index:09d}=" for index in range(count)]


def measure(endpoint: Endpoint, fan_out: FanOut, connections: list[str]) -> Measured:
    gone = sum(connection_id.startswith("gone") for connection_id in connections)
    posts_before, busy_before = endpoint.stats()
    cpu, started = time.process_time(), time.perf_counter()
    outcome = fan_out(connections)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    posts, busy = endpoint.stats()
    assert outcome == (len(connections) - gone, gone), outcome
    assert posts - posts_before == len(connections), "every connection is asked once"
    return Measured(
        posts_per_second=len(connections) / seconds,
        cpu_microseconds=cpu / len(connections) * 1e6,
        endpoint_busy=(busy - busy_before) / seconds,
    )


def median(measured: list[Measured]) -> Measured:
    return sorted(measured, key=lambda each: each.posts_per_second)[len(measured) // 2]


def run() -> list[dict[str, object]]:
    session = boto3.Session("AKID", "secret", "token", region_name="eu-west-1")
    rows: list[dict[str, object]] = []
    with null_endpoint() as endpoint, ThreadPoolExecutor(32) as threads:
        client = session.client(
            "apigatewaymanagementapi",
            endpoint_url=endpoint.url,
            config=Config(max_pool_connections=32),
        )
        ours = broadcast(Broadcaster(endpoint.url, session=session))
        threaded = in_threads(client, threads)
        sequential = one_by_one(client)
        for warm in (ours, threaded, sequential):
            warm(connections_of(64, 0))
        for gone_percent in GONE_PERCENT:
            slow: list[float] = []
            for count in CONNECTIONS:
                ids = connections_of(count, gone_percent)
                # Side by side, in turns: what else the machine does falls on all of them.
                rounds = [
                    (measure(endpoint, ours, ids), measure(endpoint, threaded, ids))
                    for _ in range(REPEATS)
                ]
                own, others = (median(list(each)) for each in zip(*rounds, strict=True))
                if count <= MOST_ONE_BY_ONE:
                    slow.append(measure(endpoint, sequential, ids).posts_per_second)
                rows.append(
                    {
                        "connections": count,
                        "gonePercent": gone_percent,
                        "postsPerSecond": own.posts_per_second,
                        "threadsPostsPerSecond": others.posts_per_second,
                        "oneByOnePostsPerSecond": slow[-1],
                        "oneByOneMeasuredAt": min(count, MOST_ONE_BY_ONE),
                        "timesOneByOne": own.posts_per_second / slow[-1],
                        "timesThreads": own.posts_per_second / others.posts_per_second,
                        "cpuMicrosecondsPerPost": own.cpu_microseconds,
                        "threadsCpuMicrosecondsPerPost": others.cpu_microseconds,
                        "endpointBusy": own.endpoint_busy,
                    }
                )
    return rows


def main() -> bool:
    """Prints and saves the figures; False where the budget is missed."""
    rows = run()
    report.table("Fan-out: the broadcaster against boto3 (posts a second)", rows)
    report.save(SECTION, rows)
    (budgeted,) = [
        row for row in rows if (row["connections"], row["gonePercent"]) == (BUDGET_CONNECTIONS, 0)
    ]
    slow, threads = budgeted["timesOneByOne"], budgeted["timesThreads"]
    assert isinstance(slow, float)
    assert isinstance(threads, float)
    met = slow >= BUDGET_ONE_BY_ONE and threads >= BUDGET_THREADS
    sys.stdout.write(
        f"{BUDGET_CONNECTIONS:,} connections: {slow:.1f} times one by one (budget {BUDGET_ONE_BY_ONE:g}), "
        f"{threads:.2f} times in 32 threads (budget {BUDGET_THREADS:g}): {'met' if met else 'MISSED'}\n"
    )
    return met


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
