"""Every REST operation on a channel with storage failing at each of its calls in turn."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from tests.doubles.acting_room import offer, pending_calls
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.faults import FailingRepository
from tests.doubles.repository import InMemoryRepository
from tests.integration.failing_calls.room import FAILURES
from tests.integration.rest_api.client import Answer, Client
from tests.integration.rest_api.test_rights import CASES, MEMBERS_MESSAGE, METHODS, Case

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import Table
from commons.records.tool import OfferedTool
from commons.schemas.caller import Caller
from commons.schemas.event import MessageCreatedData, Sender
from commons.services.connections import ConnectionsService
from commons.services.event_log import Draft, EventLogService
from rest_api.app import RestApi
from rest_api.composition import build_services
from rest_api.settings import Settings

MOST_CALLS = 40
"""More than any of them makes."""

SETTINGS = Settings(
    websocket_callback_url="http://127.0.0.1:9",
    allowed_models="model-a",
    cursor_secret_arn="arn:unused",
)
LATER = {
    "deleteChannel": 404,
    "regenerateReply": 409,
    "removeMember": 404,
}
"""What a repeated call may be answered besides: the first one was served."""


@dataclass
class World:
    """Alice's channel with bob, dave and carol, who was removed; a question and its reply."""

    storage: InMemoryRepository = field(default_factory=InMemoryRepository)
    channel: str = ""

    def __post_init__(self) -> None:
        self.failing = FailingRepository(self.storage)
        services = build_services(
            SETTINGS,
            repository=self.failing,
            broadcaster=InMemoryBroadcaster(),
            cursor_secret=lambda: b"a secret of the tests",
        )
        self.alice = Client(RestApi(services, allowed_origins=[]))
        self.bob = self.alice.as_user("bob")
        offer(self.storage, "notes", OfferedTool(name="add", approval="anyone"))
        self.channel = self.alice.new_channel("bob", "carol", "dave", agent={"tools": ["notes.*"]})
        self.alice.say(self.channel, "a question")
        self.bob.say(self.channel, "mine", clientMessageId="once")
        EventLogService(self.storage).append(
            self.channel,
            lambda: Draft(
                sender=Sender(id="#agent", kind="agent"),
                data=MessageCreatedData(
                    text="an answer", reply_to=1, generation=1, finish_reason="stop"
                ),
            ),
        )
        pending_calls(self.storage, self.channel, MEMBERS_MESSAGE)
        self.alice.delete(f"/v1/channels/{self.channel}/members/carol")
        caller = Caller(user_id="bob", expires_at=epoch_milliseconds() // 1_000 + 3_600)
        ConnectionsService(self.storage).register(
            "connection-of-bob",
            caller,
            connected_at=epoch_milliseconds(),
            channels=[self.channel],
        )

    def ask(self, case: Case) -> Answer:
        """As whoever may."""
        client = self.alice if case.owner < 300 else self.bob
        return client.call(METHODS[case.operation_id], case.path(self.channel), case.body)

    def check(self) -> None:
        """Nothing is half written: the log has no gap, counts are those of the rows."""
        seqs = sorted(
            item["seq"]  # type: ignore[type-var]  # numbers
            for item in self.storage.all_items(Table.CHAT_EVENTS)
            if item["channel_id"] == self.channel and "type" in item
        )
        assert seqs == list(range(1, len(seqs) + 1))
        rows = self.storage.all_items(Table.CHANNELS)
        members = {
            row["user_id"]
            for row in rows
            if row["pk"] == keys.channel_partition(self.channel)
            and str(row["sk"]).startswith(keys.MEMBER_PREFIX)
        }
        twins = {
            row["user_id"]
            for row in rows
            if str(row["pk"]).startswith("user#") and row.get("channel_id") == self.channel
        }
        meta = self.storage.get(Table.CHANNELS, keys.channel_key(self.channel))
        if meta.get("deleted"):
            assert self.alice.get(f"/v1/channels/{self.channel}").status == 404
            return
        assert members == twins
        assert meta["member_count"] == len(members)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize(
    "case",
    [case for case in CASES if min(case.owner, case.member) < 300],
    ids=lambda case: f"{case.operation_id}{case.target}",
)
def test_whichever_call_fails_is_told_and_mended_by_the_next(case: Case, kind: str) -> None:
    expected = case.owner if case.owner < 300 else case.member
    for at_call in range(1, MOST_CALLS):
        world = World()
        world.failing.arm(replace(FAILURES[kind], at_call=at_call))

        answer = world.ask(case)
        has_failed = world.failing.has_failed
        world.failing.arm(None)
        again = world.ask(case)

        told = f"call {at_call} of {world.failing.calls}: {answer.text}"
        assert answer.status in {expected, 429, 503}, told
        if answer.status in {429, 503}:
            assert answer.headers["retry-after"], told
        allowed = {expected, 200, LATER.get(case.operation_id, expected)}
        assert again.status in allowed, f"repeated after {told}: {again.text}"
        world.check()
        if not has_failed:
            assert at_call > 1
            return
    raise AssertionError("an operation makes more calls than were tried")


ELSEWHERE: Mapping[str, tuple[str, str, object, int]] = {
    "createChannel": ("POST", "/v1/channels", {"name": "New", "members": ["bob"]}, 201),
    "listChannels": ("GET", "/v1/channels", None, 200),
    "createTicket": ("POST", "/v1/tickets", None, 201),
}


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize(
    ("method", "path", "body", "expected"), ELSEWHERE.values(), ids=ELSEWHERE.keys()
)
def test_so_is_what_is_asked_of_no_channel(
    method: str, path: str, body: object, expected: int, kind: str
) -> None:
    with_key = {"Idempotency-Key": "once"}
    for at_call in range(1, MOST_CALLS):
        world = World()
        world.failing.arm(replace(FAILURES[kind], at_call=at_call))

        answer = world.alice.call(method, path, body, headers=with_key)
        has_failed = world.failing.has_failed
        world.failing.arm(None)
        again = world.alice.call(method, path, body, headers=with_key)

        assert answer.status in {expected, 429, 503}, f"call {at_call}: {answer.text}"
        assert again.status in {expected, 200}, f"repeated after call {at_call}: {again.text}"
        listed = world.alice.get("/v1/channels").body["items"]
        assert len(listed) == (2 if path == "/v1/channels" and method == "POST" else 1)
        assert len(world.bob.get("/v1/channels").body["items"]) == len(listed)
        world.check()
        if not has_failed:
            assert at_call > 1
            return
    raise AssertionError("an operation makes more calls than were tried")
