"""How long writes of every kind take on the running local stack while ten people post without a pause.

Through REST, on the stack that `poe up` brought up. First into one channel, then, as a control, each
into a channel of its own: the emulator, one process beside its workers, sets a floor of its own. Lost
tries are those that the functions themselves count (`AppendConflict`, `StaleHead`).
"""

import json
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final

import httpx
from tests.bench import report
from tests.e2e.clients import RestClient

from devstack.config import STAGE, LocalStackConfig
from devstack.local_stack import LocalStack

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

SECTION: Final = "writers"
POSTERS: Final = 10
SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 0.1
"""Between two writes of the owner."""

WORKERS: Final = POSTERS + 6
"""Of the REST API, that are warm when it begins: the owner and a late answer need some, too."""

LIMIT_SECONDS: Final = 2.0
"""The budget of the 99th percentile."""

LOST_WRITE_UNITS: Final[Mapping[str, float]] = {
    "post": (1 + 2 * 2) / 2,
    "edit": 2 * 3,
    "react": 2 * 3,
    "delete": 2 * 7,
    "add a member": 2 * 5,
    "remove a member": 2 * 6,
}
"""Of one try, each item below 1 KB: a transaction's twice as many as it has items. Every other poster
gives an id; a log does not say which."""

ROUTES: Final[Mapping[tuple[str, str], str]] = {
    ("POST", "/v1/channels/{channelId}/messages"): "post",
    ("PATCH", "/v1/channels/{channelId}/messages/{seq}"): "edit",
    ("PUT", "/v1/channels/{channelId}/messages/{seq}/reactions/{emoji}"): "react",
    ("DELETE", "/v1/channels/{channelId}/messages/{seq}"): "delete",
    ("PUT", "/v1/channels/{channelId}/members/{userId}"): "add a member",
    ("DELETE", "/v1/channels/{channelId}/members/{userId}"): "remove a member",
}
"""The kind of write, by what the function logs of it."""


LOGGED_SECONDS: Final = 10.0
"""Until what was served is in the logs."""


@dataclass
class Sample:
    """What was done, how long it took, how it was answered."""

    kind: str
    seconds: float
    status: int

    @property
    def is_refused(self) -> bool:
        return self.status == httpx.codes.TOO_MANY_REQUESTS


@dataclass
class Samples:
    """Of all threads."""

    all: list[Sample] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, sample: Sample) -> None:
        with self._lock:
            self.all.append(sample)


class Writer:
    """One user's calls, each timed."""

    def __init__(self, client: RestClient, samples: Samples) -> None:
        self._client = client
        self._samples = samples

    def write(self, kind: str, method: str, path: str, **request: Any) -> httpx.Response:
        """As often as it is told to come back; each answer is a sample of its own."""
        while True:
            began = time.monotonic()
            answer = self._client.http.request(
                method, f"{self._client.rest_url}/v1/channels/{path}", **request
            )
            seconds = time.monotonic() - began
            self._samples.add(Sample(kind, seconds, answer.status_code))
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                answer.raise_for_status()
                return answer
            time.sleep(float(answer.headers["retry-after"]))


@dataclass(frozen=True)
class Crowd:
    """Ten who post without a pause, and an owner who does everything else in one of their channels."""

    owner: RestClient
    posters: list[RestClient]

    def run(self, channels: list[str]) -> list[Sample]:
        """Posters are dealt out to the channels; the owner is in the first."""
        samples = Samples()
        until = time.monotonic() + SECONDS
        with ExitStack() as opened, ThreadPoolExecutor(POSTERS + 1) as threads:
            owner = Writer(opened.enter_context(self.owner.again()), samples)
            running = [threads.submit(_moderate, owner, channels[0], until)]
            for number, client in enumerate(self.posters):
                writer = Writer(opened.enter_context(client.again()), samples)
                channel = channels[number % len(channels)]
                has_id = number % 2 == 0
                running.append(threads.submit(_post, writer, channel, until, has_id=has_id))
            for each in running:
                each.result()
        return samples.all


def _post(writer: Writer, channel: str, until: float, *, has_id: bool) -> None:
    body: dict[str, str] = {"text": "x" * 200}
    while time.monotonic() < until:
        if has_id:
            body["clientMessageId"] = uuid.uuid4().hex
        writer.write("post", "POST", f"{channel}/messages", json=body)


def _moderate(writer: Writer, channel: str, until: float) -> None:
    def rest(seq: int) -> Iterator[Callable[[], object]]:
        message = f"{channel}/messages/{seq}"
        member = f"{channel}/members/eve"
        yield lambda: writer.write("edit", "PATCH", message, json={"text": "second"})
        yield lambda: writer.write("react", "PUT", f"{message}/reactions/+")
        yield lambda: writer.write("mark as read", "PUT", f"{channel}/read", json={"seq": seq})
        yield lambda: writer.write("delete", "DELETE", message)
        yield lambda: writer.write("add a member", "PUT", member, json={"role": "member"})
        yield lambda: writer.write("remove a member", "DELETE", member)

    while time.monotonic() < until:
        posted = writer.write("post", "POST", f"{channel}/messages", json={"text": "first"})
        for write in rest(posted.json()["seq"]):
            time.sleep(PAUSE_SECONDS)
            write()


def warm(client: RestClient) -> None:
    """A cold worker takes seconds, and every call that finds none idle starts one."""
    channel = client.create_channel(name="warm-up")
    together = threading.Barrier(WORKERS)

    def call(_number: int) -> None:
        with client.again() as own:
            for _ in range(3):
                together.wait(timeout=120)
                own.post(channel, "x")

    with ThreadPoolExecutor(WORKERS) as threads:
        for _called in threads.map(call, range(WORKERS)):
            pass


def lost_tries(logs: "CloudWatchLogsClient", since: float, writes: int) -> dict[str, list[int]]:
    """By the kind of write, of each that was served since: tries that came to nothing."""
    deadline = time.monotonic() + LOGGED_SECONDS
    while True:
        found: dict[str, list[int]] = defaultdict(list)
        for kind, lost in _served(logs, since):
            found[kind].append(lost)
        logged = sum(map(len, found.values()))
        if logged >= writes or time.monotonic() > deadline:
            break
        time.sleep(1)
    sys.stdout.write(f"{writes} writes, {logged} of them found in the logs\n")
    return found


def _served(logs: "CloudWatchLogsClient", since: float) -> Iterator[tuple[str, int]]:
    calls: dict[str, dict[str, Any]] = defaultdict(dict)
    for stream, message in _messages(logs, since):
        call = calls[stream]
        if message.startswith("{"):
            call.update(json.loads(message))
        elif message.startswith("END "):
            kind = ROUTES.get((call.get("method", ""), call.get("resource", "")))
            if kind is not None and call["status"] < httpx.codes.BAD_REQUEST:
                lost = (*call.get("AppendConflict", ()), *call.get("StaleHead", ()))
                yield kind, int(sum(lost))
            call.clear()


def _messages(logs: "CloudWatchLogsClient", since: float) -> Iterator[tuple[str, str]]:
    """Second by second: the emulator answers 10,000 lines and names no next page."""
    for second in range(int(since * 1_000), int(time.time() * 1_000), 1_000):
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/chat-{STAGE}-rest_api",
            startTime=second,
            endTime=second + 999,
        )
        for page in pages:
            for event in page["events"]:
                yield event["logStreamName"], event["message"]


def rows(
    where: str, samples: list[Sample], lost: Mapping[str, list[int]]
) -> list[dict[str, object]]:
    """A row a kind of write."""
    by_kind: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_kind[sample.kind].append(sample)
    return [_row(where, kind, of_kind, lost.get(kind, [])) for kind, of_kind in by_kind.items()]


def _row(where: str, kind: str, samples: list[Sample], lost: list[int]) -> dict[str, object]:
    done = [sample for sample in samples if not sample.is_refused]
    seconds = [sample.seconds for sample in samples]
    p99 = quantiles(seconds, n=100, method="inclusive")[98]
    mean_lost = sum(lost) / len(lost) if lost else 0.0
    return {
        "channels": where,
        "write": kind,
        "times": len(done),
        "p50 ms": round(median(seconds) * 1_000),
        "p99 ms": round(p99 * 1_000),
        "max ms": round(max(seconds) * 1_000),
        "429s": len(samples) - len(done),
        "lost tries": round(mean_lost, 2),
        "most lost": max(lost, default=0),
        "lost WCU an append": round(mean_lost * LOST_WRITE_UNITS.get(kind, 0), 2),
        "met": "yes" if p99 <= LIMIT_SECONDS else "NO",
    }


@contextmanager
def crowd(stack: LocalStack) -> Iterator[Crowd]:
    outputs = stack.outputs()
    users = stack.users(outputs)
    with ExitStack() as opened:

        def client(user: str) -> RestClient:
            return opened.enter_context(RestClient(outputs.rest_url, users.token(user)))

        yield Crowd(client("alice"), [client(f"writer-{number}") for number in range(POSTERS)])


def run(stack: LocalStack) -> list[dict[str, object]]:
    everything: list[dict[str, object]] = []
    names = [f"writer-{number}" for number in range(POSTERS)]
    with crowd(stack) as people:
        warm(people.owner)
        for where, count in (("one", 1), ("each its own", POSTERS)):
            channels = [people.owner.create_channel(*names) for _ in range(count)]
            began = time.time()
            samples = people.run(channels)
            done = [
                each for each in samples if each.kind in ROUTES.values() and not each.is_refused
            ]
            lost = lost_tries(stack.clients.logs(), began, len(done))
            everything += rows(where, samples, lost)
    return everything


def main() -> bool:
    """Prints and saves the figures; False where the one channel misses its budget."""
    figures = run(LocalStack(LocalStackConfig()))
    report.table(f"{POSTERS} post without a pause (budget: p99 of 2 s in one channel)", figures)
    report.save(SECTION, figures)
    return all(row["met"] == "yes" for row in figures if row["channels"] == "one")


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
