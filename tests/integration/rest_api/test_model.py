"""The API against a simple model, in any order, with repetitions and crashes between its calls.

The model is the log itself: whatever a call answers, and wherever it crashed, at most one event was
appended, and everything else that the API shows is what a plain fold over the events says.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Answer, Client, RecordingBroadcaster
from tests.support.thoroughness import SEQUENCES

from commons.dal import IRepository, Query, Table
from commons.observability import log, metrics
from commons.services.event_log import EventLogService
from rest_api.app import RestApi
from rest_api.composition import build_services
from rest_api.settings import Settings

CALLS = frozenset(
    {
        "get",
        "find",
        "batch_get",
        "put",
        "update",
        "delete",
        "batch_delete",
        "query",
        "iterate",
        "transact",
    }
)
OWNER = "alice"
PEOPLE = (OWNER, "bob", "carol")
EMOJI = ("👍", "🎉")

type Event = dict[str, Any]
type Crash = tuple[int, bool] | None
"""At which storage call of a request, and whether after it was done (or before)."""


class CrashingRepository:
    """Passes calls on until the one at which the process dies: before it, or just after."""

    def __init__(self, repository: IRepository) -> None:
        self._repository = repository
        self._left: int | None = None
        self._after = False

    def crash(self, crash: Crash) -> None:
        self._left, self._after = (None, False) if crash is None else crash

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._repository, name)
        if name not in CALLS:
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            crashes = self._left == 0
            if self._left is not None:
                self._left -= 1
            if crashes and not self._after:
                raise ConnectionError
            result = method(*args, **kwargs)
            if crashes:
                raise ConnectionError
            return result

        return call


@dataclass
class Message:
    sender: str
    text: str
    edits: int = 0
    deleted: bool = False
    reactions: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Model:
    """A fold over the events, as a reader of CONTRACT would write it."""

    members: dict[str, str] = field(default_factory=lambda: {OWNER: "owner", "bob": "member"})
    messages: dict[int, Message] = field(default_factory=dict)
    client_message_ids: dict[tuple[str, str], int] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    texts: dict[int, list[str]] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        data, sender = event["data"], event["sender"]["id"]
        match event["type"]:
            case "message.created":
                self.messages[event["seq"]] = Message(sender, data["text"])
                self.texts[event["seq"]] = [data["text"]]
                if "clientMessageId" in event:
                    key = (sender, event["clientMessageId"])
                    assert key not in self.client_message_ids
                    self.client_message_ids[key] = event["seq"]
            case "message.edited":
                message = self.messages[data["target"]]
                assert not message.deleted
                message.text = data["text"]
                message.edits += 1
                self.texts[data["target"]].append(data["text"])
            case "message.deleted":
                message = self.messages[data["target"]]
                assert not message.deleted
                message.deleted, message.text, message.reactions = True, "", {}
                self.secrets.update(self.texts[data["target"]])
            case "reaction.added":
                users = self.messages[data["target"]].reactions.setdefault(data["emoji"], [])
                assert sender not in users
                users.append(sender)
            case "reaction.removed":
                reactions = self.messages[data["target"]].reactions
                reactions[data["emoji"]].remove(sender)
                if not reactions[data["emoji"]]:
                    del reactions[data["emoji"]]
            case "member.joined" | "member.updated":
                self.members[data["userId"]] = data["role"]
            case "member.left":
                del self.members[data["userId"]]
        assert "owner" in self.members.values()


crashes: st.SearchStrategy[Crash] = (
    st.none() | st.none() | st.tuples(st.integers(0, 9), st.booleans())
)
people = st.sampled_from(PEOPLE)
targets = st.integers(0, 5)


class LogMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.memory = InMemoryRepository()
        self.storage = CrashingRepository(self.memory)
        services = build_services(
            Settings(
                websocket_callback_url="http://127.0.0.1:9",
                allowed_models="model",
                cursor_secret_arn="arn:unused",
            ),
            repository=self.storage,
            broadcaster=RecordingBroadcaster(),
            cursor_secret=lambda: b"a secret of the tests",
        )
        self.api = RestApi(services, allowed_origins=[])
        self.channel = self.client(OWNER).new_channel("bob")
        self.path = f"/v1/channels/{self.channel}"
        self.model = Model()
        self.events: list[Event] = []
        self.count = 0

    def client(self, user: str) -> Client:
        return Client(self.api, user)

    def act(self, user: str, method: str, path: str, body: object, crash: Crash) -> Answer:
        """Makes one call, then takes what it appended over into the model."""
        self.storage.crash(crash)
        answer = self.client(user).call(method, self.path + path, body)
        self.storage.crash(None)
        self.appended = self.take_over()
        assert len(self.appended) <= 1
        return answer

    def take_over(self) -> list[Event]:
        page = EventLogService(self.memory).read(self.channel, after=len(self.events), limit=100)
        appended = [event.to_wire() for event in page.items]
        for event in appended:
            assert event["seq"] == len(self.events) + 1
            self.events.append(event)
            self.model.apply(event)
        return appended

    @property
    def owner(self) -> str:
        return next(user for user, role in self.model.members.items() if role == "owner")

    def expect(self, answer: Answer, crash: Crash, status: int, event: str | None) -> None:
        """Without a crash a call does exactly this; with one, this or nothing, then a 500."""
        if crash is None or answer.status != 500:
            assert answer.status == status, answer.text
            assert [each["type"] for each in self.appended] == ([event] if event else [])
        else:
            assert [each["type"] for each in self.appended] in ([], [event])

    def new_text(self) -> str:
        self.count += 1
        return f"«text {self.count}»"

    @rule(user=people, number=st.integers(0, 3), crash=crashes)
    def post(self, user: str, number: int, crash: Crash) -> None:
        client_message_id = f"id-{number}"
        known = self.model.client_message_ids.get((user, client_message_id))
        is_member = user in self.model.members
        if known is not None:
            created = self.messages_text(known)
            body = {"text": created, "clientMessageId": client_message_id}
            status, event = 200, None
        else:
            body = {"text": self.new_text(), "clientMessageId": client_message_id}
            status, event = 201, "message.created"
        if not is_member:
            status, event = 404, None

        answer = self.act(user, "POST", "/messages", body, crash)

        if answer.status == 200 and known is None:
            # The put was answered by a crash inside, and the repetition inside found it.
            status, event = 200, None
        self.expect(answer, crash, status, event)
        if answer.status == 200 and known is not None:
            assert answer.body["seq"] == known

    def messages_text(self, seq: int) -> str:
        """The text that the message was posted with."""
        return self.model.texts[seq][0]

    @rule(user=people, crash=crashes)
    def post_without_id(self, user: str, crash: Crash) -> None:
        is_member = user in self.model.members

        answer = self.act(user, "POST", "/messages", {"text": self.new_text()}, crash)

        self.expect(
            answer, crash, 201 if is_member else 404, "message.created" if is_member else None
        )

    def target(self, number: int) -> tuple[int, Message]:
        seqs = list(self.model.messages)
        seq = seqs[number % len(seqs)]
        return seq, self.model.messages[seq]

    @precondition(lambda self: self.model.messages)
    @rule(user=people, number=targets, crash=crashes)
    def edit(self, user: str, number: int, crash: Crash) -> None:
        seq, message = self.target(number)
        status, event = 200, "message.edited"
        if user not in self.model.members:
            status = 404
        elif user != message.sender:
            status = 403
        elif message.deleted or message.edits >= 50:
            status = 409

        answer = self.act(user, "PATCH", f"/messages/{seq}", {"text": self.new_text()}, crash)

        self.expect(answer, crash, status, event if status == 200 else None)

    @precondition(lambda self: self.model.messages)
    @rule(user=people, number=targets, crash=crashes)
    def delete(self, user: str, number: int, crash: Crash) -> None:
        seq, message = self.target(number)
        status, event = 204, None if message.deleted else "message.deleted"
        if user not in self.model.members:
            status, event = 404, None
        elif user != message.sender and self.model.members[user] != "owner":
            status, event = 403, None

        answer = self.act(user, "DELETE", f"/messages/{seq}", None, crash)

        self.expect(answer, crash, status, event)

    @precondition(lambda self: self.model.messages)
    @rule(
        user=people,
        number=targets,
        emoji=st.sampled_from(EMOJI),
        added=st.booleans(),
        crash=crashes,
    )
    def react(self, user: str, number: int, emoji: str, added: bool, crash: Crash) -> None:
        seq, message = self.target(number)
        there = user in message.reactions.get(emoji, [])
        status, event = 204, None if there == added else "reaction.added"
        if event is not None and not added:
            event = "reaction.removed"
        if user not in self.model.members:
            status, event = 404, None
        elif message.deleted:
            status, event = 409, None

        answer = self.act(
            user,
            "PUT" if added else "DELETE",
            f"/messages/{seq}/reactions/{emoji}",
            None,
            crash,
        )

        self.expect(answer, crash, status, event)

    @rule(
        user=people,
        role=st.sampled_from(("owner", "member")),
        caller=people,
        crash=crashes,
    )
    def put_member(self, user: str, role: str, caller: str, crash: Crash) -> None:
        members = self.model.members
        status, event = 200, "member.updated" if user in members else "member.joined"
        if caller not in members:
            status = 404
        elif members[caller] != "owner":
            status = 403
        elif members.get(user) == role:
            event = ""
        elif members.get(user) == "owner" and self.owners == 1:
            status = 409

        answer = self.act(caller, "PUT", f"/members/{user}", {"role": role}, crash)

        self.expect(answer, crash, status, event or None if status == 200 else None)

    @rule(user=people, caller=people, crash=crashes)
    def remove_member(self, user: str, caller: str, crash: Crash) -> None:
        members = self.model.members
        status = 204
        if caller not in members:
            status = 404
        elif caller != user and members[caller] != "owner":
            status = 403
        elif user not in members:
            status = 404
        elif members[user] == "owner" and self.owners == 1:
            status = 409

        answer = self.act(caller, "DELETE", f"/members/{user}", None, crash)

        self.expect(answer, crash, status, "member.left" if status == 204 else None)

    @property
    def owners(self) -> int:
        return list(self.model.members.values()).count("owner")

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        client = self.client(self.owner)
        self.assert_log_is_prefix_complete(client)
        listed = client.get(f"{self.path}/messages?limit=100").body["items"]
        assert {message["seq"]: as_model(message) for message in listed} == {
            seq: (each.sender, each.text, each.deleted, each.reactions)
            for seq, each in self.model.messages.items()
        }
        members = client.get(f"{self.path}/members").body["items"]
        assert {each["userId"]: each["role"] for each in members} == self.model.members
        assert client.get(self.path).body["memberCount"] == len(self.model.members)
        for user in PEOPLE:
            channels = self.client(user).get("/v1/channels").body["items"]
            assert bool(channels) == (user in self.model.members)
        stored = repr(list(self.items()))
        for secret in self.model.secrets:
            assert secret not in stored

    def assert_log_is_prefix_complete(self, client: Client) -> None:
        page = client.get(f"{self.path}/events?limit=100").body
        assert [event["seq"] for event in page["items"]] == list(
            range(1, min(100, len(self.events)) + 1)
        )
        assert page["lastSeq"] == len(self.events)

    def items(self) -> Iterator[object]:
        partitions = [self.channel, f"{self.channel}#state"] + [
            f"idem#{self.channel}#{user}#{client_message_id}"
            for user, client_message_id in self.model.client_message_ids
        ]
        for partition in partitions:
            yield from self.memory.iterate(Query(table=Table.CHAT_EVENTS, partition=partition))
        yield from self.memory.iterate(
            Query(table=Table.CHANNELS, partition=f"channel#{self.channel}")
        )


def as_model(message: Event) -> tuple[object, ...]:
    return (
        message["sender"]["id"],
        message["text"],
        "deletedAt" in message,
        message["reactions"],
    )


class TestLogMachine(LogMachine.TestCase):  # type: ignore[misc, valid-type]  # made by hypothesis
    def setUp(self) -> None:
        log.setLevel("CRITICAL")

    def tearDown(self) -> None:
        log.setLevel("INFO")
        metrics.clear_metrics()


TestLogMachine.settings = settings(
    max_examples=SEQUENCES,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
