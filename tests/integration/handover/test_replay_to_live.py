"""The session's replay and the delivery worker meet, in any interleaving (docs/adr)."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.doubles.delivery_queues import NoQueues
from tests.doubles.repository import InMemoryRepository
from tests.support.thoroughness import SEQUENCES

from commons import keys
from commons.dal import Item, Key, Page, Query, Table, Write
from commons.dal.interface import Condition
from commons.ids import new_channel_id
from commons.realtime.broadcaster import Outcome, Post, Revalidate
from commons.schemas.caller import Caller
from commons.schemas.event import Event
from commons.schemas.message import PostMessage
from commons.services.connections import ConnectionsService
from commons.services.event_log import EventLogService
from commons.services.messages import MessagesService
from websocket_session.composition import build_services
from websocket_session.settings import SessionSettings
from workers_delivery.composition import build_services as build_delivery

CONNECTION = "c1"
ALICE = Caller(user_id="alice", expires_at=2**40)

SETTINGS = SessionSettings(
    websocket_callback_url="http://127.0.0.1:9",
    jwt_issuer="https://issuer.example",
    jwt_audience="audience",
    jwt_jwks_url="http://127.0.0.1:9/jwks.json",
)


class InterruptibleRepository(InMemoryRepository):
    """Lets `interrupt` run before each call, but not within itself."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupt: Callable[[], None] | None = None

    def _pause(self) -> None:
        interrupt, self.interrupt = self.interrupt, None
        if interrupt is not None:
            interrupt()
            self.interrupt = interrupt

    def find(self, table: Table, key: Key, *, consistent: bool = False) -> Item | None:
        self._pause()
        return super().find(table, key, consistent=consistent)

    def query(self, query: Query) -> Page:
        self._pause()
        return super().query(query)

    def put(self, table: Table, item: Item, *, condition: Condition | None = None) -> None:
        self._pause()
        super().put(table, item, condition=condition)

    def transact(self, writes: Sequence[Write]) -> None:
        self._pause()
        super().transact(writes)


@dataclass
class Socket:
    """What arrives at the one connection; delivery may be held up on its way to it."""

    arrived: list[dict[str, Any]] = field(default_factory=list)
    held: list[Post] = field(default_factory=list)
    holding: bool = False
    interrupt: Callable[[], None] = lambda: None

    def send(
        self,
        posts: Iterable[Post],
        *,
        budget_seconds: float = 10,  # noqa: ARG002  # nothing fails here
        revalidate: Revalidate | None = None,  # noqa: ARG002  # nor waits
    ) -> Outcome:
        delivered = 0
        for post in posts:
            delivered += 1
            if self.holding:
                self.held.append(post)
            else:
                self._take(post)
        return Outcome(delivered=delivered)

    def delete_connection(self, connection_id: str) -> bool:  # noqa: ARG002  # nobody expires
        return True

    def serves(self, connection_ids: Iterable[str]) -> bool:  # noqa: ARG002  # it always does
        return True

    def release(self) -> None:
        for post in self.held:
            self._take(post)
        self.held.clear()

    def _take(self, post: Post) -> None:
        for frame in post.frames:
            self.arrived.append(json.loads(frame))

    def first_sightings(self) -> list[int]:
        seen: list[int] = []
        for frame in self.arrived:
            if frame["type"] == "events":
                seen += [each["seq"] for each in frame["events"] if each["seq"] not in seen]
        return seen

    def acks(self) -> list[dict[str, Any]]:
        return [frame for frame in self.arrived if frame["type"] == "ack"]


class House:
    """One channel, one subscriber, the log, delivery; `plan` says what happens in between."""

    def __init__(self, plan: Iterable[str], *, past: int) -> None:
        self.repository = InterruptibleRepository()
        self.channel_id = new_channel_id()
        self.socket = Socket()
        self.messages = MessagesService(self.repository)
        self.log = EventLogService(self.repository)
        self.connections = ConnectionsService(self.repository)
        self.delivery = build_delivery(
            self.repository, gateway=self.socket, patient=self.socket, queues=NoQueues()
        ).delivery
        self.subscribing = build_services(
            SETTINGS, repository=self.repository, broadcaster=self.socket
        ).subscribing
        self.undelivered: dict[int, Event] = {}
        self.plan = iter(plan)
        self._join()
        for _ in range(past):
            self.append()
        self.deliver()

    def _join(self) -> None:
        agent: Mapping[str, object] = {"mode": "off", "model_id": "m"}
        meta: Item = {
            **keys.channel_key(self.channel_id),
            "channel_id": self.channel_id,
            "name": "A channel",
            "created_at": "2026-01-01T00:00:00.000Z",
            "created_by": "alice",
            "agent": dict(agent),
            "member_count": 1,
            "owner_count": 1,
        }
        member: Item = {
            **keys.member_key(self.channel_id, "alice"),
            "channel_id": self.channel_id,
            "user_id": "alice",
            "role": "owner",
            "joined_at": "2026-01-01T00:00:00.000Z",
        }
        self.repository.put(Table.CHANNELS, meta)
        self.repository.put(Table.CHANNELS, member)
        self.connections.register(CONNECTION, ALICE, connected_at=int(time.time() * 1000) - 60_000)

    def append(self) -> None:
        posted = self.messages.post(self.channel_id, ALICE, PostMessage(text="x"))
        self.undelivered[posted.event.seq] = posted.event

    def deliver(self) -> None:
        """One batch: delivery has it all the way to the sockets."""
        self.socket.release()
        batch, self.undelivered = self.undelivered, {}
        if batch:
            self.delivery.deliver({self.channel_id: batch})

    def deliver_slowly(self) -> None:
        """One batch: delivery looks who listens, and its posts arrive later."""
        self.socket.holding = True
        self.deliver()
        self.socket.holding = False

    def step(self) -> None:
        match next(self.plan, None):
            case "append":
                self.append()
            case "deliver":
                self.deliver()
            case "deliver slowly":
                self.deliver_slowly()
            case "release":
                self.socket.release()
            case _:
                pass

    def subscribe(self, *, after: int) -> None:
        connection = self.connections.require(CONNECTION)
        self.repository.interrupt = self.step
        self.subscribing.subscribe(connection, self.channel_id, after=after, request_id="r1")
        self.repository.interrupt = None


steps = st.sampled_from(["append", "append", "deliver", "deliver slowly", "release", "wait"])


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    plan=st.lists(steps, max_size=30),
    later=st.lists(steps, max_size=12),
    past=st.integers(0, 6),
    after=st.integers(0, 8),
)
def test_every_event_is_first_seen_in_order_whatever_happens_during_the_hand_over(
    plan: list[str], later: list[str], past: int, after: int
) -> None:
    house = House(plan, past=past)
    after = min(after, past)

    house.subscribe(after=after)
    house.plan = iter(later)
    for _ in later:
        house.step()
    house.socket.release()
    house.deliver()

    head = house.log.head(house.channel_id)
    assert house.socket.first_sightings() == list(range(after + 1, head + 1))
    (ack,) = house.socket.acks()
    assert ack["hasMore"] is False
    assert ack["through"] <= head
