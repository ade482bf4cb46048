"""The log's costs: calls, read and write units of each operation, and that they stay flat.

Every operation runs in channels of another length and among another number of channels. Against
moto, or against tables that are there: with AWS_ENDPOINT_URL_DYNAMODB and the three table names in
the environment (CHAT_EVENTS_TABLE, CHANNELS_TABLE, CONNECTIONS_TABLE).
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

import boto3
from moto import mock_aws
from tests import conftest
from tests.bench import fairness, report
from tests.bench.capacity import CapacityMeter, Cost
from tests.doubles.delivery_queues import NoQueues
from tests.doubles.metered_process import MeteredProcess
from tests.doubles.repository import InMemoryRepository

from commons.clock import epoch_seconds
from commons.dal import DynamoDBRepository, IRepository, Table
from commons.dal.serialisation import serialize_item
from commons.observability import metrics
from commons.realtime.broadcaster import Outcome, Post, Revalidate
from commons.records.connection import Subscription
from commons.schemas.caller import Caller
from commons.schemas.message import PostMessage
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.closing import ClosingService
from commons.services.event_log import EventLogService
from commons.services.head_memory import FIRST_PATIENCE
from commons.services.messages import MessagesService
from commons.services.read_marks import ReadMarksService
from commons.services.subscriptions_ending import SubscriptionsEndingService
from commons.services.tool_catalogue import ToolCatalogueService
from rest_api.cursors import CursorCodec
from rest_api.schemas import CreateChannel, EventsQuery, MessagesQuery
from rest_api.services.agents import AgentRules
from rest_api.services.channels import ChannelsService
from rest_api.services.deletions import DeletionsService
from rest_api.services.edits import EditsService
from rest_api.services.members import MembersService
from rest_api.services.reactions import ReactionsService
from rest_api.services.reading import ReadingService
from workers_delivery.composition import build_services

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import WriteRequestTypeDef

SECTION: Final = "log"
ALICE: Final = Caller(user_id="alice", name="Alice", expires_at=2**40)
TEXT: Final = "x" * 500
PAGE: Final = 10
TURNS: Final = 240
FEW_LISTENERS: Final = 10
MANY_LISTENERS: Final = 1_000
FLAT_FACTOR: Final = 1.1
"""Longer numbers and rounding up to units; anything that grows with the log is far beyond it."""


@dataclass(frozen=True)
class Scale:
    events: int
    channels: int


BASE: Final = Scale(events=1_000, channels=1)
"""Past every bound of a page and of the unread count (its newest 500): from here on all is flat."""

SCALES: Final = (
    BASE,
    Scale(events=10, channels=1),
    Scale(events=10_000, channels=1),
    Scale(events=1_000, channels=1_000),
)


@dataclass(frozen=True)
class Budget:
    """At most; None where the design sets no budget."""

    calls: int | None = None
    read_units: float | None = None
    write_units: int | None = None

    def allows(self, cost: Cost) -> bool:
        return (
            (self.calls is None or len(cost.calls) <= self.calls)
            and (self.read_units is None or cost.read_units <= self.read_units)
            and (self.write_units is None or cost.write_units <= self.write_units)
        )


class CountingBroadcaster:
    """IBroadcaster that takes every post."""

    def __init__(self) -> None:
        self.posts = 0

    def send(
        self,
        posts: Iterable[Post],
        *,
        budget_seconds: float = 0,  # noqa: ARG002  # the protocol's
        revalidate: Revalidate | None = None,  # noqa: ARG002  # the protocol's
    ) -> Outcome:
        sent = sum(len(post.frames) for post in posts)
        self.posts += sent
        return Outcome(delivered=sent)

    def delete_connection(self, connection_id: str) -> bool:
        raise AssertionError(f"nothing ends {connection_id} here")

    def serves(self, connection_ids: Iterable[str]) -> bool:
        raise AssertionError(f"nobody is slow here: {list(connection_ids)}")


class Deployment:
    """Tables with a channel of so many events among so many channels, and a meter on them."""

    def __init__(self, names: Mapping[Table, str], scale: Scale) -> None:
        self._plain: DynamoDBClient = boto3.client("dynamodb")
        watched: DynamoDBClient = boto3.client("dynamodb")
        self.meter = CapacityMeter(watched, self._plain, names)
        self._names = names
        self._watched = watched
        self.channel_id = self._seed(scale)

    def cold(self) -> DynamoDBRepository:
        """A function just started: no head is remembered."""
        return DynamoDBRepository(self._names, client=self._watched)

    def warm(self) -> DynamoDBRepository:
        """A function that has had the channel to itself for a while."""
        repository = self.cold()
        for _ in range(FIRST_PATIENCE + 1):
            MessagesService(repository).post(self.channel_id, ALICE, PostMessage(text=TEXT))
        return repository

    def _seed(self, scale: Scale) -> str:
        """Grown in memory, where it takes seconds, by the services that grow it in production."""
        memory = InMemoryRepository()
        channels = channels_service(memory)
        messages, reactions = MessagesService(memory), ReactionsService(memory)
        channel_id = ""
        for number in range(scale.channels):
            request = CreateChannel(name=f"Channel {number}", members=["bob", "carol"])
            channel_id = channels.create(ALICE, request).channel.content.channel_id
            for _ in range(3 if number + 1 < scale.channels else 0):
                messages.post(channel_id, ALICE, PostMessage(text=TEXT))
            metrics.clear_metrics()
        for number in range(scale.events):
            if number % 5 == 4:
                reactions.add(channel_id, ALICE, number, "\N{PARTY POPPER}")
            else:
                messages.post(channel_id, ALICE, PostMessage(text=TEXT))
            metrics.clear_metrics()
        for table in Table:
            for chunk in batched(memory.all_items(table), 25):
                puts: list[WriteRequestTypeDef] = [
                    {"PutRequest": {"Item": serialize_item(item)}} for item in chunk
                ]
                self._plain.batch_write_item(RequestItems={self._names[table]: puts})
        return channel_id

    def listen(self, listeners: int) -> None:
        """Subscribes connections that are live for long."""
        now = epoch_seconds()
        for number in range(listeners):
            row = Subscription(
                channel_id=self.channel_id,
                connection_id=f"connection-{number:05}=",
                user_id="bob",
                state="live",
                expires_at=now + 7_200,
                connected_at=(now - 600) * 1_000,
                live_since=(now - 600) * 1_000,
            )
            self._plain.put_item(
                TableName=self._names[Table.CONNECTIONS], Item=serialize_item(row.to_item())
            )


def channels_service(repository: IRepository) -> ChannelsService:
    return ChannelsService(
        repository,
        agents=AgentRules(["model"], catalogue=ToolCatalogueService(repository)),
        closing=ClosingService(repository, subscriptions=subscriptions_ending(repository)),
    )


def subscriptions_ending(repository: IRepository) -> SubscriptionsEndingService:
    broadcasts = ChannelBroadcastService(repository, broadcaster=CountingBroadcaster())
    return SubscriptionsEndingService(repository, broadcasts=broadcasts)


def members_service(repository: IRepository) -> MembersService:
    return MembersService(
        repository, subscriptions=subscriptions_ending(repository), max_members=1_000
    )


type Work = Callable[[], object]
type Operation = Callable[[Deployment], Work]
"""Prepares, unmeasured; what it returns is measured."""


def append(at: Deployment) -> Work:
    messages = MessagesService(at.warm())
    return lambda: messages.post(at.channel_id, ALICE, PostMessage(text=TEXT))


def append_cold(at: Deployment) -> Work:
    messages = MessagesService(at.cold())
    return lambda: messages.post(at.channel_id, ALICE, PostMessage(text=TEXT))


def append_behind(at: Deployment) -> Work:
    """The head remembered is one behind: another function appended."""
    messages = MessagesService(at.warm())
    MessagesService(at.warm()).post(at.channel_id, ALICE, PostMessage(text=TEXT))
    return lambda: messages.post(at.channel_id, ALICE, PostMessage(text=TEXT))


def append_identified(at: Deployment) -> Work:
    messages = MessagesService(at.warm())
    message = PostMessage(text=TEXT, client_message_id="first")
    return lambda: messages.post(at.channel_id, ALICE, message)


def append_identified_cold(at: Deployment) -> Work:
    messages = MessagesService(at.cold())
    message = PostMessage(text=TEXT, client_message_id="second")
    return lambda: messages.post(at.channel_id, ALICE, message)


def append_identified_behind(at: Deployment) -> Work:
    messages = MessagesService(at.warm())
    MessagesService(at.warm()).post(at.channel_id, ALICE, PostMessage(text=TEXT))
    message = PostMessage(text=TEXT, client_message_id="fourth")
    return lambda: messages.post(at.channel_id, ALICE, message)


def append_again(at: Deployment) -> Work:
    messages = MessagesService(at.warm())
    message = PostMessage(text=TEXT, client_message_id="third")
    messages.post(at.channel_id, ALICE, message)
    return lambda: messages.post(at.channel_id, ALICE, message)


def append_reply(at: Deployment) -> Work:
    messages = MessagesService(at.warm())
    return lambda: messages.post(at.channel_id, ALICE, PostMessage(text=TEXT, reply_to=1))


def edit(at: Deployment) -> Work:
    seq = newest_message(at)
    edits = EditsService(at.warm())
    return lambda: edits.edit(at.channel_id, ALICE, seq, "another text")


def react(at: Deployment) -> Work:
    seq = newest_message(at)
    reactions = ReactionsService(at.warm())
    return lambda: reactions.add(at.channel_id, ALICE, seq, "\N{THUMBS UP SIGN}")


def delete(at: Deployment) -> Work:
    seq = newest_message(at)
    deletions = DeletionsService(at.warm())
    return lambda: deletions.delete(at.channel_id, ALICE, seq)


def newest_message(at: Deployment) -> int:
    message = PostMessage(text=TEXT)
    return MessagesService(at.warm()).post(at.channel_id, ALICE, message).event.seq


def reading(at: Deployment) -> ReadingService:
    return ReadingService(at.warm(), cursors=CursorCodec(lambda: b"secret"))


def read_events(at: Deployment) -> Work:
    pages = reading(at)
    return lambda: pages.events(at.channel_id, ALICE, EventsQuery(after=0, limit=PAGE))


def read_new_events(at: Deployment) -> Work:
    pages = reading(at)
    head = EventLogService(at.warm()).head(at.channel_id)
    return lambda: pages.events(at.channel_id, ALICE, EventsQuery(after=head - 3, limit=PAGE))


def list_newest_messages(at: Deployment) -> Work:
    pages = reading(at)
    return lambda: pages.messages(at.channel_id, ALICE, MessagesQuery(limit=PAGE))


def list_oldest_messages(at: Deployment) -> Work:
    pages = reading(at)
    return lambda: pages.messages(at.channel_id, ALICE, MessagesQuery(limit=PAGE, after=0))


def get_message(at: Deployment) -> Work:
    pages = reading(at)
    return lambda: pages.message(at.channel_id, ALICE, 1)


def get_channel(at: Deployment) -> Work:
    channels = channels_service(at.warm())
    return lambda: channels.get(at.channel_id, ALICE)


def list_one_channel(at: Deployment) -> Work:
    channels = channels_service(at.warm())
    return lambda: channels.page(ALICE, limit=1)


def join(at: Deployment) -> Work:
    repository = at.warm()
    members = members_service(repository)
    return lambda: members.put(at.channel_id, ALICE, "dave", "member")


def leave(at: Deployment) -> Work:
    repository = at.warm()
    members = members_service(repository)
    return lambda: members.remove(at.channel_id, ALICE, "carol")


def mark_read(at: Deployment) -> Work:
    broadcasts = ChannelBroadcastService(at.warm(), broadcaster=CountingBroadcaster())
    marks = ReadMarksService(at.warm(), broadcasts=broadcasts)
    bob = Caller(user_id="bob", expires_at=2**40)
    return lambda: marks.mark(at.channel_id, bob, 5)


def deliver(at: Deployment) -> Work:
    page = EventLogService(at.warm()).read(at.channel_id, after=0, limit=1)
    appended = datetime.fromisoformat(page.items[0].created_at).timestamp()
    broadcaster = CountingBroadcaster()
    # As of the moment of the append: what comes late is read from the log again.
    delivery = build_services(
        at.warm(),
        gateway=broadcaster,
        patient=broadcaster,
        queues=NoQueues(),
        clock=lambda: 0.0,
        epoch=lambda: int(appended * 1_000),
    ).delivery
    events = {at.channel_id: {event.seq: event for event in page.items}}

    def push() -> object:
        # moto takes its time over a thousand subscriptions, in Python.
        with patch("workers_delivery.services.delivery.BATCH_SECONDS", 60):
            return delivery.deliver(events)

    return push


def deliver_to_many(at: Deployment) -> Work:
    at.listen(MANY_LISTENERS)
    return deliver(at)


OPERATIONS: Final[Mapping[str, tuple[Operation, Budget]]] = {
    "append, warm": (append, Budget(2, 1.5, 2)),
    "append, cold": (append_cold, Budget(3, 1.5, 2)),
    "append, head one behind": (append_behind, Budget()),
    "append with clientMessageId, warm": (append_identified, Budget(2, 1.5, 5)),
    "append with clientMessageId, cold": (append_identified_cold, Budget(3, 1.5, 5)),
    "append with clientMessageId, head one behind": (append_identified_behind, Budget()),
    "append with clientMessageId, again": (append_again, Budget()),
    "append a reply, warm": (append_reply, Budget()),
    "edit": (edit, Budget()),
    "react": (react, Budget()),
    "delete": (delete, Budget()),
    f"{PAGE} oldest events": (read_events, Budget()),
    "3 newest events": (read_new_events, Budget()),
    f"{PAGE} newest messages": (list_newest_messages, Budget(calls=5, write_units=0)),
    f"{PAGE} oldest messages": (list_oldest_messages, Budget(calls=5, write_units=0)),
    "get a message": (get_message, Budget()),
    "get a channel": (get_channel, Budget()),
    "list one channel": (list_one_channel, Budget()),
    "add a member": (join, Budget()),
    "remove a member": (leave, Budget()),
    "mark read": (mark_read, Budget()),
    f"deliver to {FEW_LISTENERS}": (deliver, Budget(calls=1, write_units=0)),
    f"deliver to {MANY_LISTENERS:,}": (deliver_to_many, Budget(calls=1, write_units=0)),
}


def measure(names: Mapping[Table, str], scale: Scale) -> Iterator[tuple[str, Cost]]:
    """Every operation in the same channel, one after the other."""
    at = Deployment(names, scale)
    at.listen(FEW_LISTENERS)
    for name, (prepare, _) in OPERATIONS.items():
        work = prepare(at)
        with at.meter.measuring() as cost:
            work()
        metrics.clear_metrics()
        yield name, cost


@contextmanager
def tables() -> Iterator[Mapping[Table, str]]:
    """Tables of moto's, or those that the environment names."""
    with ExitStack() as stack:
        if "AWS_ENDPOINT_URL_DYNAMODB" in os.environ:
            yield {table: os.environ[f"{table.upper()}_TABLE"] for table in Table}
        else:
            stack.enter_context(patch.dict(os.environ, conftest.ENVIRONMENT))
            stack.enter_context(mock_aws())
            yield conftest.deploy_tables()


def run() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    at_base: dict[str, Cost] = {}
    for scale in SCALES:
        with tables() as names:
            for name, cost in measure(names, scale):
                base = at_base.setdefault(name, cost)
                budget = OPERATIONS[name][1]
                rows.append(
                    {
                        "operation": name,
                        "events": scale.events,
                        "channels": scale.channels,
                        "calls": len(cost.calls),
                        "RCU": cost.read_units,
                        "WCU": cost.write_units,
                        "budget": _spelled(budget),
                        "met": "yes" if budget.allows(cost) else "NO",
                        "flat": "yes" if _is_flat(cost, base) else "NO",
                    }
                )
    order = list(OPERATIONS)
    return sorted(rows, key=lambda row: (order.index(str(row["operation"])), *_scale(row)))


def _scale(row: Mapping[str, object]) -> tuple[int, int]:
    return int(str(row["channels"])), int(str(row["events"]))


def _spelled(budget: Budget) -> str:
    limits = (budget.calls, budget.read_units, budget.write_units)
    return "/".join("-" if limit is None else f"{limit:g}" for limit in limits)


def _is_flat(cost: Cost, base: Cost) -> bool:
    return (
        len(cost.calls) <= len(base.calls)
        and cost.read_units <= max(base.read_units * FLAT_FACTOR, base.read_units + 0.5)
        and cost.write_units <= base.write_units
    )


def take_turns(processes: int, *, has_id: bool) -> dict[str, object]:
    """What an append costs where functions take turns in one channel."""
    tables = InMemoryRepository()
    channel_id = channels_service(tables).create(ALICE, CreateChannel(name="Room"))
    room = channel_id.channel.content.channel_id
    functions = [MeteredProcess(tables) for _ in range(processes)]
    services = [MessagesService(function) for function in functions]
    for number in range(processes + TURNS):
        if number == processes:
            for function in functions:
                function.calls = function.write_units = function.lost = 0
        message = PostMessage(text=TEXT, client_message_id=f"m{number}" if has_id else None)
        services[number % processes].post(room, ALICE, message)
        metrics.clear_metrics()
    calls = sum(function.calls for function in functions) / TURNS
    write_units = sum(function.write_units for function in functions) / TURNS
    most_calls, most_units = 2 if processes == 1 else 3, 5 if has_id else 3
    return {
        "functions": processes,
        "clientMessageId": has_id,
        "calls an append": round(calls, 2),
        "WCU an append": round(write_units, 2),
        "lost": sum(function.lost for function in functions),
        "budget": f"{most_calls}/{most_units}",
        # The very first of all cannot know that others will write here.
        "met": (
            "yes"
            if calls <= most_calls + 3 / TURNS and write_units <= most_units + 5 / TURNS
            else "NO"
        ),
    }


def main() -> bool:
    """Prints and saves the figures; False where a budget is missed or a cost grows."""
    rows = run()
    report.table("The log: calls, read and write units (budget: calls/RCU/WCU)", rows)
    turns = [take_turns(k, has_id=has_id) for has_id in (False, True) for k in (1, 2, 4, 8)]
    report.table("Functions that take turns (budget: calls/WCU)", turns)
    crowd = fairness.run()
    report.table(
        f"{fairness.POSTERS} post without a pause, in virtual time (budget: p99 of 2 s)", crowd
    )
    report.save(SECTION, rows)
    report.save(f"{SECTION}_turns", turns)
    report.save(f"{SECTION}_crowd", crowd)
    return all(row["met"] == row.get("flat", "yes") == "yes" for row in (*rows, *turns, *crowd))


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
