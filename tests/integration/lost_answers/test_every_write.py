"""Every operation that writes, over storage that makes a write and loses the answer.

botocore then makes the same call again. Whichever write of an operation that is, the caller sees
what he would have seen, and the state is what it would have been.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import pytest
from mcp_types import Tool
from tests.doubles.acting_room import OPEN_RULES, offer, pending_call_id, pending_calls
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.faults import NEVER, RepeatingRepository
from tests.doubles.queue_records import queue_record
from tests.integration.rest_api.client import Client

from commons.clock import epoch_seconds
from commons.dal import IRepository, Table
from commons.records.generation import FinishedText, OpenGeneration
from commons.records.spend import NO_COST, Cost
from commons.records.tool import OfferedTool, ToolServerRecord
from commons.schemas.caller import Caller
from commons.schemas.event import Usage
from commons.schemas.generation import GenerationRequest
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.connections import ConnectionsService
from commons.services.generation_endings import Ending, GenerationEndingsService
from commons.services.generations import GenerationsService
from commons.services.rate_limit import NoticeRateService, PostRateService
from commons.services.spend import SpendService
from commons.services.tickets import TicketsService
from commons.services.tool_calls import ToolCallsService
from commons.services.tool_catalogue import ToolCatalogueService
from commons.services.tool_decisions import ToolDecisionsService
from commons.services.typing_notices import TypingNoticesService
from rest_api.app import RestApi
from rest_api.composition import build_services
from rest_api.settings import Settings
from websocket_session.services.renewal import RenewalService
from workers_agent.services.claims import Claim, ClaimsService
from workers_presence.composition import build_services as build_presence
from workers_presence.schemas import Check
from workers_presence.settings import PresenceSettings
from workers_tools.configuration import Configuration
from workers_tools.conversation import Peer
from workers_tools.edge import EdgeError
from workers_tools.services.catalogue import CatalogueService

SETTINGS: Final = Settings(
    websocket_callback_url="http://127.0.0.1:9",
    allowed_models="model-a,model-b",
    cursor_secret_arn="arn:unused",
)
NOW: Final = epoch_seconds()


def caller(user_id: str, *, seconds: int = 3_600) -> Caller:
    return Caller(user_id=user_id, name=user_id.title(), expires_at=NOW + seconds)


@dataclass
class World:
    """Alice's channel with bob in it, and a message."""

    storage: RepeatingRepository = field(
        default_factory=lambda: RepeatingRepository(at_write=NEVER)
    )
    broadcaster: InMemoryBroadcaster = field(default_factory=InMemoryBroadcaster)
    channel: str = ""

    def __post_init__(self) -> None:
        services = build_services(
            SETTINGS,
            repository=self.storage,
            broadcaster=self.broadcaster,
            cursor_secret=lambda: b"a secret of the tests",
        )
        self.alice = Client(RestApi(services, allowed_origins=[]))
        self.bob = self.alice.as_user("bob")
        self.connections = ConnectionsService(self.storage)
        self.broadcasts = ChannelBroadcastService(self.storage, broadcaster=self.broadcaster)
        self.spend = SpendService(self.storage, channel_tokens=10_000, user_tokens=10_000)
        self.claims = ClaimsService(self.storage, spend=self.spend)
        self.endings = GenerationEndingsService(self.storage, spend=self.spend)
        self.channel = self.alice.new_channel("bob")
        self.alice.say(self.channel, "question")

    def path(self, rest: str = "") -> str:
        return f"/v1/channels/{self.channel}{rest}"

    def connect(self, *channels: str, user_id: str = "bob") -> None:
        self.connections.register(
            f"connection-of-{user_id}",
            caller(user_id),
            connected_at=NOW * 1_000 - 60_000,
            channels=channels,
        )

    def claim(self, generation: int = 1) -> Claim:
        """Of the question, which the dispatcher opens as its first generation."""
        if generation == 1:
            GenerationsService(self.storage).ask(self.channel, 1, "alice", correlation_id=None)
        request = GenerationRequest(channel_id=self.channel, question_seq=1, generation=generation)
        claim = self.claims.claim(request)
        assert claim is not None
        return claim

    def reply(self, claim: Claim) -> int:
        """Sets aside what the reply may cost, lays it down, appends it and settles its cost."""
        new = self.spend.reservation("alice", "model-a", input_tokens=5, max_tokens=10)
        self.claims.reserve(claim, new, old=None, cost=NO_COST)
        usage = Usage(model_id="model-a", input_tokens=1, output_tokens=1)
        finished = FinishedText(finish_reason="stop", usage=usage)
        self.claims.lay_down(claim, text="answer", finished=finished)
        row = claim.row.model_copy(update={"reservation": new})
        cost = Cost(requests=1, input_tokens=1, output_tokens=1)
        return self.endings.end(row, Ending(text="answer", usage=usage, cost=cost)).seq


type Act = Callable[[World], object]


def nothing(_world: World) -> None:
    """The world as it begins."""


@dataclass(frozen=True)
class Operation:
    """What comes before, undisturbed, and the operation itself; it returns what its caller sees."""

    act: Act
    before: Act = nothing


def call(
    method: str, path: str, body: object = None, *, user: str = "alice", before: Act | None = None
) -> Operation:
    def act(world: World) -> object:
        client = world.alice.as_user(user)
        answer = client.call(method, world.path(path), body)
        assert answer.status < 300, answer.text
        return answer.status, answer.headers.get("idempotent-replayed"), masked(answer.text)

    return Operation(act) if before is None else Operation(act, before)


def create(world: World) -> object:
    answer = world.alice.post("/v1/channels", {"name": "New", "members": ["bob", "carol"]})
    return answer.status, masked(answer.text)


def create_with_key(world: World) -> object:
    answer = world.alice.call(
        "POST", "/v1/channels", {"name": "New"}, headers={"Idempotency-Key": "k"}
    )
    return answer.status, masked(answer.text)


def buy_ticket(world: World) -> object:
    answer = world.alice.post("/v1/tickets")
    return answer.status, TicketsService(world.storage).spend(answer.body["ticket"]).user_id


def register(world: World) -> object:
    world.connect(world.channel)
    return [row.user_id for row in world.connections.subscriptions(world.channel)]


def listen(world: World) -> object:
    world.connect()
    return None


def listen_to_channel(world: World) -> object:
    world.connect(world.channel)
    return None


def subscribe(world: World) -> object:
    connection = world.connections.require("connection-of-bob")
    return world.connections.subscribe(connection, world.channel).state


def replay(world: World) -> object:
    connection = world.connections.require("connection-of-bob")
    subscription = world.connections.subscribe(connection, world.channel, state="replaying")
    world.connections.go_live(subscription, live_after=1)
    return [row.live_after for row in world.connections.subscriptions(world.channel)]


def unsubscribe(world: World) -> object:
    world.connections.unsubscribe(world.connections.require("connection-of-bob"), world.channel)
    return world.connections.subscriptions(world.channel)


def renew(world: World) -> object:
    service = RenewalService(
        world.storage,
        verify_token=lambda _: caller("bob", seconds=7_200),
        connections=world.connections,
    )
    return service.renew(world.connections.require("connection-of-bob"), "token").user_id


def typing_notices(world: World, seconds_later: int = 0) -> TypingNoticesService:
    def moment() -> int:
        return (NOW + seconds_later) * 1_000

    return TypingNoticesService(
        world.storage,
        broadcasts=world.broadcasts,
        notice_rate=NoticeRateService(world.storage, kind="typing", clock=moment),
        clock=moment,
    )


def type_(world: World) -> object:
    typing_notices(world).say(world.channel, "bob", typing=True)
    return frames_seen(world)


def type_and_stop(world: World) -> object:
    typing_notices(world).say(world.channel, "bob", typing=True)
    typing_notices(world, 1).say(world.channel, "bob", typing=False)
    return typing_notices(world, 2).tell_wanted(world.channel, "bob"), frames_seen(world)


def post_at_a_rate(world: World) -> object:
    rates = PostRateService(world.storage, rate=1, clock=lambda: NOW * 1_000)
    rates.take("alice")
    rates.take("alice")
    return None


def reply_to_first(world: World) -> object:
    return world.reply(world.claim())


def regenerate_and_claim(world: World) -> object:
    assert world.alice.post(world.path("/messages/2/regenerate")).status == 202
    return world.claim(generation=2).row.fence


def beat(world: World) -> object:
    claim = world.claim()
    world.claims.beat(claim, text="so far", next_index=3)
    return claim.row.fence


def release(world: World) -> object:
    world.claims.release(world.claim(), unsettled=NO_COST, failed=True)
    return world.claim().row.fence


def fail_reply(world: World) -> object:
    world.endings.end(world.claim().row, Ending(failure="model_error"))
    return world.alice.event_types(world.channel)


class NoQueue:
    """A test hands checks over by itself."""

    def put(self, checks: Mapping[Check, int]) -> list[Check]:
        return list(checks)[:0]


def check_presence(world: World, mark: str | None = None) -> object:
    """Whether bob came or, with a mark, has left."""
    services = build_presence(
        PresenceSettings(websocket_callback_url="http://127.0.0.1:9", departures_queue_url="-"),
        repository=world.storage,
        broadcaster=world.broadcaster,
        queue=NoQueue(),
    )
    check = Check(channel_id=world.channel, user_id="bob", mark=mark)
    return services.checks.take([queue_record("1", check.to_json())])


def come_online(world: World) -> object:
    return check_presence(world), frames_seen(world)


def go_offline(world: World) -> object:
    check_presence(world)
    world.connections.forget("connection-of-bob")
    return check_presence(world, mark="2"), frames_seen(world)


def put_back(world: World) -> object:
    (row,) = world.connections.subscriptions(world.channel)
    replaying = world.connections.replay_from(row, 0)
    assert replaying is not None
    live = world.connections.go_live(replaying, live_after=1)
    assert live is not None
    world.connections.settle(live)
    return [each.state for each in world.connections.room(world.channel)]


def grow(world: World) -> object:
    world.connections.grow(world.channel, shards=1, to=4)
    return world.connections.grow(world.channel, shards=4, to=16)


def offer_notes(world: World) -> object:
    offer(world.storage, "notes", OfferedTool(name="add", approval="anyone"))
    return None


def allow_notes(world: World) -> object:
    offer_notes(world)
    return world.alice.patch(world.path(), {"agent": {"tools": ["notes.*"]}}).status


def ask_for_calls(world: World) -> object:
    pending_calls(world.storage, world.channel, 1)
    return world.alice.event_types(world.channel)


def calls_that_wait(world: World) -> object:
    allow_notes(world)
    return ask_for_calls(world)


def decide(world: World, decision: str = "approve") -> object:
    call_id = pending_call_id(world.channel, 1, "anyone")
    answer = world.bob.post(world.path(f"/tools/{call_id}/decision"), {"decision": decision})
    return answer.status, masked(answer.text)


def expire_call(world: World) -> object:
    call_id = pending_call_id(world.channel, 1, "anyone")
    tomorrow = (NOW + 2 * 24 * 3_600) * 1_000
    ToolDecisionsService(world.storage, clock=lambda: tomorrow).expire(world.channel, call_id)
    return world.alice.event_types(world.channel)


def an_approved_call(world: World) -> object:
    calls_that_wait(world)
    return decide(world)


def waiting_row(world: World) -> OpenGeneration:
    row = GenerationsService(world.storage).find_open(world.channel, 1)
    assert row is not None
    return row


def make_call(world: World) -> object:
    calls = ToolCallsService(world.storage)
    row = waiting_row(world)
    approved = calls.of_step(row, 0)[1]
    event = calls.finish(row, calls.start(row, approved), "ok", "noted")
    return event is not None and masked(event.to_json())


def all_decided(world: World) -> object:
    calls_that_wait(world)
    for rule in OPEN_RULES:
        call_id = pending_call_id(world.channel, 1, rule)
        decision = {"decision": "deny"}
        world.alice.post(world.path(f"/tools/{call_id}/decision"), decision)
    return None


def go_on_and_wait(world: World) -> object:
    request = GenerationRequest(channel_id=world.channel, question_seq=1, generation=1)
    claim = world.claims.claim(request)
    assert claim is not None
    world.claims.wait(claim, next_index=7)
    again = world.claims.claim(request)
    assert again is not None
    return again.row.fence, again.first_index, again.is_takeover


def end_with_open_calls(world: World) -> object:
    world.endings.end(waiting_row(world), Ending(failure="timeout"))
    return world.alice.event_types(world.channel)


def frames_seen(world: World) -> str:
    return masked(repr(sorted(world.broadcaster.frames.items())))


def a_listening_alice(world: World) -> object:
    world.connect(world.channel, user_id="alice")
    return listen_to_channel(world)


class Lists:
    """Servers that offer one tool each, but for one that is down."""

    async def tools(
        self, peer: Peer, *, seconds: float  # noqa: ARG002 - of the interface
    ) -> list[Tool]:
        if "down" in peer.url:
            raise EdgeError("unreachable", "It is down.")
        return [Tool(name="add", input_schema={"type": "object"})]


def catalogue(world: World, *servers: str) -> CatalogueService:
    described = [{"name": name, "url": f"https://{name}.example.com/mcp"} for name in servers]
    configuration = Configuration(
        "/tools",
        "public",
        read_parameter=lambda _name: json.dumps(described),
        read_secret=lambda _arn: "",
    )
    return CatalogueService(
        world.storage,
        configuration=configuration,
        conversations=Lists(),
        seconds=20.0,
        clock=lambda: NOW,
    )


def refresh(world: World) -> object:
    refreshed = catalogue(world, "new", "old", "down").refresh()
    offered = ToolCatalogueService(world.storage).offered()
    return refreshed, [tool.name for tool in offered]


def an_earlier_catalogue(world: World) -> object:
    down = ToolServerRecord(name="down", read_at="2026-01-01T00:00:00.000Z", expires_at=1)
    world.storage.put(Table.CHANNELS, {**down.key, **down.model_dump()})
    return catalogue(world, "old", "gone", "down").refresh()


OPERATIONS: Mapping[str, Operation] = {
    "create": Operation(create),
    "create with a key": Operation(create_with_key),
    "rename": call("PATCH", "", {"name": "Other"}),
    "configure the agent": call("PATCH", "", {"agent": {"mode": "off"}}),
    "delete the channel": call("DELETE", ""),
    "delete a channel that somebody listens to": call("DELETE", "", before=listen_to_channel),
    "join": call("PUT", "/members/carol", {"role": "member"}),
    "change a role": call("PUT", "/members/bob", {"role": "owner"}),
    "remove": call("DELETE", "/members/bob", before=listen_to_channel),
    "leave": call("DELETE", "/members/bob", user="bob"),
    "post": call("POST", "/messages", {"text": "x"}),
    "post with an id": call("POST", "/messages", {"text": "x", "clientMessageId": "m"}),
    "edit": call("PATCH", "/messages/1", {"text": "edited"}),
    "delete a message": call("DELETE", "/messages/1"),
    "react": call("PUT", "/messages/1/reactions/x"),
    "take a reaction back": call(
        "DELETE",
        "/messages/1/reactions/x",
        before=lambda world: world.alice.react(world.channel, 1, "x"),
    ),
    "mark as read": call("PUT", "/read", {"seq": 1}, user="bob", before=a_listening_alice),
    "ticket": Operation(buy_ticket),
    "regenerate": call("POST", "/messages/2/regenerate", before=reply_to_first),
    "regenerate and claim": Operation(regenerate_and_claim, reply_to_first),
    "cancel all": call("POST", "/generations/cancel", {}),
    "cancel before it is claimed": call("POST", "/generations/cancel", {"replyTo": 1}),
    "cancel what is written": call(
        "POST", "/generations/cancel", {"replyTo": 1}, before=lambda world: world.claim()
    ),
    "claim": Operation(lambda world: world.claim().row.fence),
    "claim, beat": Operation(beat),
    "claim, release, claim": Operation(release),
    "claim, reply": Operation(reply_to_first),
    "claim, fail": Operation(fail_reply),
    "allow tools": Operation(allow_notes, offer_notes),
    "ask for calls": Operation(ask_for_calls, allow_notes),
    "approve a call": Operation(decide, calls_that_wait),
    "deny a call": Operation(lambda world: decide(world, "deny"), calls_that_wait),
    "approve a call twice": Operation(
        lambda world: (decide(world), decide(world)), calls_that_wait
    ),
    "expire a call": Operation(expire_call, calls_that_wait),
    "make a call": Operation(make_call, an_approved_call),
    "go on, wait, go on": Operation(go_on_and_wait, all_decided),
    "end with open calls": Operation(end_with_open_calls, an_approved_call),
    "cancel what waits": call("POST", "/generations/cancel", {}, before=calls_that_wait),
    "delete a question that waits": call("DELETE", "/messages/1", before=an_approved_call),
    "register": Operation(register),
    "subscribe": Operation(subscribe, listen),
    "subscribe again": Operation(subscribe, listen_to_channel),
    "replay": Operation(replay, listen),
    "put back and replay": Operation(put_back, listen_to_channel),
    "grow": Operation(grow),
    "unsubscribe": Operation(unsubscribe, listen_to_channel),
    "renew": Operation(renew, listen_to_channel),
    "typing": Operation(type_, a_listening_alice),
    "type and stop": Operation(type_and_stop, a_listening_alice),
    "forget": Operation(
        lambda world: world.connections.forget("connection-of-bob"), listen_to_channel
    ),
    "rate": Operation(post_at_a_rate),
    "come online": Operation(come_online, a_listening_alice),
    "go offline": Operation(go_offline, a_listening_alice),
    "refresh the catalogue of tools": Operation(refresh, an_earlier_catalogue),
}

_MASKS: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "<time>"),
    (re.compile(r"\b\d{10,13}(\.\d+)?\b"), "<time>"),
    (re.compile(r"(?<='subscription_id', ')[\w-]{8}(?=')|(?<='turn', ')[\w-]{8}(?=')"), "<id>"),
    (re.compile(r"(?<='removed', \[')[^\]]*(?='\])"), "<ids>"),
    (re.compile(r"timer#\d+"), "timer#<shard>"),
    (re.compile(r"(?<![\w-])([\w-]{22}|[\w-]{43}|[0-9a-f]{52}|[0-9a-f]{64})(?![\w-])"), "<id>"),
)


def masked(text: str) -> str:
    """Without what differs from run to run: times and random ids."""
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text


def state(storage: IRepository) -> list[str]:
    assert isinstance(storage, RepeatingRepository)
    return sorted(
        masked(f"{table}: {comparable(item)}")
        for table in Table
        for item in storage.all_items(table)
    )


def comparable(value: object) -> object:
    match value:
        case dict():
            return sorted((name, comparable(part)) for name, part in value.items())
        case bytes():
            return "<bytes>"
        case frozenset():
            return sorted(map(str, value))
        case list():
            return [comparable(part) for part in value]
    return value


def run(operation: Operation, *, lost: int) -> tuple[object, list[str], int]:
    """What the caller saw, the state then, and how many writes the operation made."""
    world = World()
    operation.before(world)
    world.storage.arm(lost)
    seen = operation.act(world)
    writes = world.storage.writes
    return seen, state(world.storage), writes


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_lost_answer_changes_neither_what_the_caller_sees_nor_the_state(
    operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commons.services.subscriptions_ending.time.sleep", lambda _: None)
    seen, expected, writes = run(operation, lost=NEVER)

    assert writes > 0
    for number in range(1, writes + 1):
        assert run(operation, lost=number)[:2] == (seen, expected), f"write {number}"
