"""Who may do what: every operation on a channel, for everybody who may ask."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pytest
from tests.doubles.acting_room import OPEN_RULES, offer, pending_call_id, pending_calls
from tests.doubles.repository import InMemoryRepository
from tests.doubles.yesterday import YesterdaysRepository
from tests.integration.rest_api.client import Answer, Client
from tests.integration.rest_api.conftest import Listen, MakeApi

from commons.dal import Key, Table
from commons.records.tool import OfferedTool
from commons.schemas.event import MessageCreatedData, Sender
from commons.services.event_log import Draft, EventLogService
from rest_api.description.operations import OPERATIONS

type Who = Literal["owner", "member", "stranger", "former", "owner of a deleted channel"]

OWNERS_MESSAGE, MEMBERS_MESSAGE, REPLY = 1, 2, 3
NOBODYS_CHANNEL = "n" * 22


@dataclass(frozen=True)
class Case:
    """An operation, and what an owner and a member are answered."""

    operation_id: str
    target: str
    owner: int
    member: int
    body: object = None

    def path(self, channel: str) -> str:
        """Calls are named by the rule they are under."""
        target = self.target
        for rule in OPEN_RULES:
            target = target.replace(f"{{{rule}}}", pending_call_id(channel, MEMBERS_MESSAGE, rule))
        return f"/v1/channels/{channel}{target}"


_MESSAGE = f"/messages/{MEMBERS_MESSAGE}"
CASES = [
    Case("getChannel", "", 200, 200),
    Case("updateChannel", "", 200, 403, {"name": "Another"}),
    Case("deleteChannel", "", 204, 403),
    Case("listMembers", "/members", 200, 200),
    Case("putMember", "/members/dave", 200, 403, {"role": "owner"}),
    Case("removeMember", "/members/dave", 204, 403),
    Case("postMessage", "/messages", 201, 201, {"text": "x"}),
    Case("postMessage", "/messages", 201, 200, {"text": "mine", "clientMessageId": "once"}),
    Case("listMessages", "/messages", 200, 200),
    Case("getMessage", _MESSAGE, 200, 200),
    Case("getMessage", "/messages/99", 404, 404),
    Case("editMessage", _MESSAGE, 403, 200, {"text": "y"}),
    Case("editMessage", _MESSAGE, 403, 200, {"text": "mine"}),
    Case("deleteMessage", _MESSAGE, 204, 204),
    Case("deleteMessage", f"/messages/{OWNERS_MESSAGE}", 204, 403),
    Case("addReaction", f"{_MESSAGE}/reactions/x", 204, 204),
    Case("removeReaction", f"{_MESSAGE}/reactions/x", 204, 204),
    Case("regenerateReply", f"/messages/{REPLY}/regenerate", 202, 202),
    Case("regenerateReply", f"{_MESSAGE}/regenerate", 422, 422),
    Case("cancelGenerations", "/generations/cancel", 202, 202),
    Case("cancelGenerations", "/generations/cancel", 202, 202, {"replyTo": OWNERS_MESSAGE}),
    Case("listGenerations", "/generations", 200, 200),
    Case("decideCall", "/tools/{owner}/decision", 200, 403, {"decision": "approve"}),
    Case("decideCall", "/tools/{anyone}/decision", 200, 200, {"decision": "deny"}),
    Case("decideCall", "/tools/{requester}/decision", 403, 200, {"decision": "approve"}),
    Case("decideCall", "/tools/none/decision", 404, 404, {"decision": "approve"}),
    Case("getUsage", "/usage", 200, 403),
    Case("listEvents", "/events", 200, 200),
    Case("setReadMark", "/read", 204, 204, {"seq": 1}),
    Case("setReadMark", "/read", 204, 204, {"seq": 0}),
    Case("getPresence", "/presence", 200, 200),
]


class CrashingRepository(YesterdaysRepository):
    """May stop a channel from being cleared away once it is deleted.

    What is not read consistently is of the past: nobody keeps a right that way.
    """

    crashes = False

    def batch_delete(self, table: Table, keys: Sequence[Key]) -> None:
        if self.crashes:
            raise RuntimeError("the function ends here")
        super().batch_delete(table, keys)


@pytest.fixture
def storage() -> CrashingRepository:
    return CrashingRepository(seed=1)


@pytest.fixture
def repository(storage: CrashingRepository) -> InMemoryRepository:
    return storage


@pytest.fixture
def channel(storage: CrashingRepository, alice: Client, listen: Listen) -> str:
    """Alice's channel with bob, dave, and carol, who was removed; a question and its reply."""
    offer(storage, "notes", OfferedTool(name="add", approval="anyone"))
    channel = alice.new_channel("bob", "carol", "dave", agent={"tools": ["notes.*"]})
    alice.say(channel, "a question")
    alice.as_user("bob").say(channel, "mine", clientMessageId="once")
    EventLogService(storage).append(
        channel,
        lambda: Draft(
            sender=Sender(id="#agent", kind="agent"),
            data=MessageCreatedData(
                text="an answer", reply_to=OWNERS_MESSAGE, generation=1, finish_reason="stop"
            ),
        ),
    )
    pending_calls(storage, channel, MEMBERS_MESSAGE)
    listen("alice", channel)
    alice.as_user("carol").say(channel, "carol's own", clientMessageId="once")
    assert alice.delete(f"/v1/channels/{channel}/members/carol").status == 204
    return channel


@pytest.fixture
def delete_without_clearing(
    storage: CrashingRepository, alice: Client, channel: str
) -> Callable[[], None]:
    def delete() -> None:
        storage.crashes = True
        alice.delete(f"/v1/channels/{channel}")
        storage.crashes = False

    return delete


METHODS: Mapping[str, str] = {each.operation_id: each.method.upper() for each in OPERATIONS}
PEOPLE: Mapping[Who, str] = {
    "owner": "alice",
    "member": "bob",
    "stranger": "mallory",
    "former": "carol",
    "owner of a deleted channel": "alice",
}


def ask(client: Client, case: Case, channel: str) -> Answer:
    return client.call(METHODS[case.operation_id], case.path(channel), case.body)


def test_every_operation_on_a_channel_is_in_the_table() -> None:
    of_channels = {each.operation_id for each in OPERATIONS if "{channelId}" in each.path}

    assert {case.operation_id for case in CASES} == of_channels


@pytest.mark.parametrize("who", ["owner", "member"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.operation_id}{case.target}")
def test_a_member_may_do_what_his_role_allows(
    alice: Client, channel: str, case: Case, who: Literal["owner", "member"]
) -> None:
    answer = ask(alice.as_user(PEOPLE[who]), case, channel)

    assert answer.status == getattr(case, who)


@pytest.mark.parametrize("who", ["stranger", "former", "owner of a deleted channel"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.operation_id}{case.target}")
def test_whoever_is_no_member_is_told_what_is_said_of_no_channel(
    alice: Client,
    channel: str,
    delete_without_clearing: Callable[[], None],
    case: Case,
    who: Who,
) -> None:
    if who == "owner of a deleted channel":
        delete_without_clearing()
    client = alice.as_user(PEOPLE[who])

    answer = ask(client, case, channel)

    assert answer.status == 404
    assert answer.text == ask(client, case, NOBODYS_CHANNEL).text


@pytest.mark.parametrize("who", PEOPLE)
def test_ones_list_holds_the_channels_that_one_is_in(
    alice: Client, channel: str, delete_without_clearing: Callable[[], None], who: Who
) -> None:
    if who == "owner of a deleted channel":
        delete_without_clearing()

    items = alice.as_user(PEOPLE[who]).get("/v1/channels").body["items"]

    assert [each["channelId"] for each in items] == (
        [channel] if who in {"owner", "member"} else []
    )


@pytest.mark.parametrize("path", ["messages", "members", "presence"])
def test_a_cursor_of_another_channel_is_refused(
    alice: Client, channel: str, listen: Listen, path: str
) -> None:
    other = alice.new_channel("bob")
    for user in ("alice", "bob"):
        alice.as_user(user).say(other)
        listen(user, other)
    cursor = alice.get(f"/v1/channels/{other}/{path}?limit=1").body["nextCursor"]
    assert cursor is not None

    assert alice.get(f"/v1/channels/{other}/{path}?cursor={cursor}").status == 200
    assert alice.get(f"/v1/channels/{channel}/{path}?cursor={cursor}").status == 400


# -- what came after one left


SECRET = "said after bob was removed"
READS = ["", "/members", "/messages", "/messages/1", "/events", "/presence"]
CALLS = ("query", "find", "batch_get")


@pytest.mark.parametrize("nth", range(6))
@pytest.mark.parametrize("path", READS)
def test_a_removed_member_gets_nothing_that_came_after_he_left(
    make_api: MakeApi,
    repository: InMemoryRepository,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    nth: int,
) -> None:
    alice = make_api(repository)
    bob = alice.as_user("bob")
    channel = alice.new_channel("bob")
    alice.say(channel, "hello")
    left = -1

    def interrupted[**Call, Result](call: Callable[Call, Result]) -> Callable[Call, Result]:
        def counting(*args: Call.args, **kwargs: Call.kwargs) -> Result:
            nonlocal left
            left -= 1
            if left == -1:
                assert alice.delete(f"/v1/channels/{channel}/members/bob").status == 204
                alice.put(f"/v1/channels/{channel}/members/eve", {"role": "member"})
                alice.patch(f"/v1/channels/{channel}", {"name": SECRET})
                alice.patch(f"/v1/channels/{channel}/messages/1", {"text": SECRET})
                alice.say(channel, SECRET)
            return call(*args, **kwargs)

        return counting

    for name in CALLS:
        monkeypatch.setattr(repository, name, interrupted(getattr(repository, name)))
    left = nth

    answer = bob.get(f"/v1/channels/{channel}{path}")

    assert answer.status in {200, 404}
    assert SECRET not in answer.text
    assert "eve" not in answer.text


@pytest.mark.parametrize("nth", range(6))
def test_a_list_of_channels_shows_none_that_one_was_removed_from(
    make_api: MakeApi,
    repository: InMemoryRepository,
    monkeypatch: pytest.MonkeyPatch,
    nth: int,
) -> None:
    alice = make_api(repository)
    channel = alice.new_channel("bob")
    alice.say(channel)
    batch_get, query = repository.batch_get, repository.query
    left = -1

    def remove() -> None:
        nonlocal left
        left -= 1
        if left == -1:
            assert alice.delete(f"/v1/channels/{channel}/members/bob").status == 204
            alice.patch(f"/v1/channels/{channel}", {"name": SECRET})

    def reading(*args: object, **kwargs: object) -> object:
        remove()
        return batch_get(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they came

    def querying(*args: object) -> object:
        remove()
        return query(*args)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(repository, "batch_get", reading)
    monkeypatch.setattr(repository, "query", querying)
    left = nth

    answer = alice.as_user("bob").get("/v1/channels")

    assert answer.status == 200
    assert SECRET not in answer.text
