"""Which tools a channel's agent may call, and who says whether a call is made."""

from hashlib import sha256

import pytest
from tests.doubles.acting_room import a_tool, offer, pending_call_id, pending_calls
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Answer, Client
from tests.integration.rest_api.conftest import MakeApi

from commons import keys
from commons.dal import IRepository, Table, Update
from commons.records.tool import NewCall, OfferedTool
from commons.schemas.event import ApprovalRule
from commons.services.tool_catalogue import ToolCatalogueService

CLOCK = OfferedTool(name="now", approval="none", read_only=True, description="Says the time.")
NOTES = OfferedTool(
    name="add",
    title="Add a note",
    approval="requester",
    idempotent=True,
    input_schema='{"type":"object","properties":{"text":{"type":"string"}}}',
)


@pytest.fixture
def offered(repository: InMemoryRepository) -> None:
    offer(repository, "clock", CLOCK)
    offer(repository, "notes", NOTES)


@pytest.fixture
def asked(alice: Client, repository: InMemoryRepository, offered: None) -> str:
    """Alice's channel; bob has asked, and calls wait for a decision."""
    channel = alice.new_channel("bob", "carol", agent={"tools": ["notes.add"]})
    alice.as_user("bob").say(channel, "note this")
    pending_calls(repository, channel, 1)
    return channel


def decide(
    client: Client, channel: str, rule: ApprovalRule, decision: str = "approve", **fields: object
) -> Answer:
    call_id = pending_call_id(channel, 1, rule)
    path = f"/v1/channels/{channel}/tools/{call_id}/decision"
    return client.post(path, {"decision": decision, **fields})


# -- what is offered


def test_everybody_sees_what_the_stack_offers(alice: Client, offered: None) -> None:
    answer = alice.as_user("nobody-in-particular").get("/v1/tools")

    assert answer.status == 200
    assert answer.body == {
        "items": [
            {
                "name": "clock.now",
                "description": "Says the time.",
                "inputSchema": {},
                "approval": "none",
                "readOnly": True,
                "idempotent": False,
            },
            {
                "name": "notes.add",
                "title": "Add a note",
                "description": "",
                "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
                "approval": "requester",
                "readOnly": False,
                "idempotent": True,
            },
        ]
    }


def test_a_stack_that_offers_nothing_says_so(alice: Client) -> None:
    assert alice.get("/v1/tools").body == {"items": []}


def test_what_a_server_offers_is_read_again_after_half_a_minute(
    repository: InMemoryRepository,
) -> None:
    moment = 0.0
    catalogue = ToolCatalogueService(repository, clock=lambda: moment)
    assert catalogue.offered() == []
    offer(repository, "clock", CLOCK)

    moment = 29.9
    assert catalogue.offered() == []
    moment = 30.0
    assert [tool.name for tool in catalogue.offered()] == ["clock.now"]


# -- what a channel allows


@pytest.mark.parametrize(
    "agent",
    [
        {"tools": ["notes.add"]},
        {"tools": ["notes.*", "clock.now"]},
        {"tools": ["notes.add"], "approval": {"notes.add": "owner", "clock.now": "anyone"}},
    ],
)
@pytest.mark.parametrize("how", ["created", "changed"])
def test_an_owner_says_which_tools_the_agent_may_call_and_every_member_sees_it(
    alice: Client, offered: None, agent: dict[str, object], how: str
) -> None:
    if how == "created":
        channel = alice.new_channel("bob", agent=agent)
    else:
        channel = alice.new_channel("bob")
        assert alice.patch(f"/v1/channels/{channel}", {"agent": agent}).status == 200

    seen = alice.as_user("bob").get(f"/v1/channels/{channel}").body["agent"]

    assert seen == {"mode": "always", "modelId": "model-a", **agent}


def test_a_change_of_tools_is_told_with_the_names_as_they_are(
    alice: Client, repository: InMemoryRepository
) -> None:
    offer(repository, "my_server", OfferedTool(name="do_it", approval="none"))
    channel = alice.new_channel()
    agent = {"tools": ["my_server.do_it"], "approval": {"my_server.do_it": "anyone"}}

    alice.patch(f"/v1/channels/{channel}", {"agent": agent})

    (event,) = alice.get(f"/v1/channels/{channel}/events").body["items"]
    assert event["type"] == "channel.updated"
    assert event["data"] == {"agent": {"mode": "always", "modelId": "model-a", **agent}}


def test_fields_are_merged_and_null_clears_one(alice: Client, offered: None) -> None:
    agent = {"tools": ["notes.add"], "approval": {"notes.add": "owner"}}
    channel = alice.new_channel(agent=agent)
    path = f"/v1/channels/{channel}"

    assert alice.patch(path, {"agent": {"approval": None}}).body["agent"]["tools"] == ["notes.add"]
    cleared = alice.patch(path, {"agent": {"tools": None}}).body["agent"]

    assert cleared == {"mode": "always", "modelId": "model-a"}


def test_a_channel_names_100_tools_at_most(alice: Client, repository: InMemoryRepository) -> None:
    many = [OfferedTool(name=f"tool{number}", approval="none") for number in range(101)]
    offer(repository, "many", *many)
    names = [f"many.tool{number}" for number in range(101)]

    for count, status in ((100, 201), (101, 422)):
        rules = dict.fromkeys(names[:count], "owner")
        for agent in ({"tools": names[:count]}, {"approval": rules}):
            answer = alice.post("/v1/channels", {"name": "Team", "agent": agent})
            assert answer.status == status


def test_a_tool_that_is_named_twice_is_allowed_once(alice: Client, offered: None) -> None:
    channel = alice.new_channel(agent={"tools": ["notes.add", "notes.add"]})

    agent = alice.get(f"/v1/channels/{channel}").body["agent"]

    assert agent["tools"] == ["notes.add"]


@pytest.mark.parametrize(
    ("agent", "field"),
    [
        ({"tools": ["clock.now", "notes.none"]}, "agent.tools.1"),
        ({"tools": ["none.*"]}, "agent.tools.0"),
        ({"tools": ["*.*"]}, "agent.tools.0"),
        ({"tools": ["notes"]}, "agent.tools.0"),
        ({"tools": ["add"]}, "agent.tools.0"),
        ({"tools": "notes.add"}, "agent.tools"),
        ({"tools": ["x" * 201]}, "agent.tools.0"),
        ({"tools": ["notes.add"] * 101}, "agent.tools"),
        ({"approval": {"notes.none": "owner"}}, "agent.approval"),
        ({"approval": {"notes.*": "owner"}}, "agent.approval"),
        ({"approval": {"notes.add": "none"}}, "agent.approval"),
        ({"approval": {"notes.add": "anyone"}}, "agent.approval"),
        ({"approval": {"notes.add": "nobody"}}, "agent.approval.notes.add"),
        ({"approval": ["notes.add"]}, "agent.approval"),
    ],
)
@pytest.mark.parametrize("how", ["created", "changed"])
def test_what_is_unknown_or_looser_than_the_stacks_rule_is_refused(
    alice: Client, offered: None, agent: dict[str, object], field: str, how: str
) -> None:
    if how == "created":
        answer = alice.post("/v1/channels", {"name": "Team", "agent": agent})
    else:
        channel = alice.new_channel()
        answer = alice.patch(f"/v1/channels/{channel}", {"agent": agent})

    assert answer.status == 422
    assert [each["field"] for each in answer.body["errors"]] == [field]


def test_only_an_owner_says_which_tools_there_are(alice: Client, offered: None) -> None:
    channel = alice.new_channel("bob")
    change = {"agent": {"tools": ["notes.add"]}}

    assert alice.as_user("bob").patch(f"/v1/channels/{channel}", change).status == 403


def test_settings_that_name_a_tool_that_is_gone_can_still_be_changed(
    alice: Client, make_api: MakeApi, repository: InMemoryRepository, offered: None
) -> None:
    channel = alice.new_channel(agent={"tools": ["notes.add"]})
    repository.delete(Table.CHANNELS, keys.tool_server_key("notes"))
    later = make_api(repository)

    answer = later.patch(f"/v1/channels/{channel}", {"agent": {"mode": "mention"}})

    assert answer.status == 200
    assert answer.body["agent"]["tools"] == ["notes.add"]


# -- decisions


@pytest.mark.parametrize(
    ("rule", "may"),
    [("owner", {"alice"}), ("requester", {"bob"}), ("anyone", {"alice", "bob", "carol"})],
)
@pytest.mark.parametrize(
    ("who", "decision"),
    [(who, decision) for who in ("alice", "bob", "carol") for decision in ("approve", "deny")],
)
def test_whoever_the_rule_names_decides(
    alice: Client, asked: str, rule: ApprovalRule, may: set[str], *, who: str, decision: str
) -> None:
    answer = decide(alice.as_user(who), asked, rule, decision)

    if who not in may:
        assert answer.status == 403
        return
    assert answer.status == 200
    assert answer.body["type"] == "tool.decided"
    assert answer.body["sender"] == {"id": who, "name": who.title(), "kind": "user"}
    assert answer.body["data"] == {
        "target": 1,
        "generation": 1,
        "callId": pending_call_id(asked, 1, rule),
        "decision": "approved" if decision == "approve" else "denied",
    }
    assert alice.get(f"/v1/channels/{asked}/events?after=4").body["items"] == [answer.body]


def test_the_same_decision_by_the_same_person_again_is_the_first_one(
    alice: Client, asked: str
) -> None:
    first = decide(alice, asked, "anyone")

    again = decide(alice, asked, "anyone")

    assert (again.status, again.body) == (200, first.body)
    assert alice.event_types(asked).count("tool.decided") == 1


def test_it_is_so_even_where_that_person_has_lost_the_right(alice: Client, asked: str) -> None:
    first = decide(alice, asked, "owner")
    alice.put(f"/v1/channels/{asked}/members/bob", {"role": "owner"})
    alice.put(f"/v1/channels/{asked}/members/alice", {"role": "member"})

    assert decide(alice, asked, "owner").body == first.body
    assert decide(alice, asked, "owner", "deny").status == 403


@pytest.mark.parametrize(("who", "decision"), [("alice", "deny"), ("carol", "approve")])
def test_another_decision_is_told_of_the_first_one(
    alice: Client, asked: str, who: str, decision: str
) -> None:
    decide(alice, asked, "anyone")

    answer = decide(alice.as_user(who), asked, "anyone", decision)

    assert answer.status == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.body["decision"], answer.body["decidedBy"]) == ("approved", "alice")
    assert answer.body["type"] == "urn:problem-type:chat:conflict"


def test_a_decision_that_comes_too_late_is_told_that_the_time_is_over(
    alice: Client, asked: str, repository: InMemoryRepository
) -> None:
    call_id = pending_call_id(asked, 1, "anyone")
    past = Update(set={"expires_at": 1})
    repository.update(Table.CHANNELS, keys.tool_call_key(asked, call_id), past)

    answer = decide(alice, asked, "anyone")

    assert answer.status == 409
    assert answer.body["decision"] == "expired"
    assert "decidedBy" not in answer.body
    last = alice.get(f"/v1/channels/{asked}/events?after=4").body["items"][-1]
    assert last["data"]["decision"] == "expired"
    assert last["sender"] == {"id": "#system", "kind": "system"}


def test_a_call_that_needs_nobody_is_nobodys_to_decide(
    alice: Client, asked: str, repository: InMemoryRepository
) -> None:
    call_id = pending_call_id(asked, 1, "anyone")
    free = Update(set={"approval": "none", "status": "approved", "expires_at": 0})
    repository.update(Table.CHANNELS, keys.tool_call_key(asked, call_id), free)

    answer = decide(alice, asked, "anyone", "deny")

    assert (answer.status, answer.body["decision"]) == (409, "approved")
    assert "decidedBy" not in answer.body


DIGEST = sha256(b'{"text":"milk"}').hexdigest()


@pytest.mark.parametrize(
    ("digest", "status"),
    [
        (DIGEST, 200),
        (DIGEST.upper(), 200),
        (sha256(b'{"text":"eggs"}').hexdigest(), 409),
        ("none", 409),
        ("x" * 128, 409),
        ("x" * 129, 422),
        ("", 422),
        (1, 422),
    ],
)
def test_a_digest_of_other_arguments_decides_nothing(
    alice: Client, asked: str, digest: object, status: int
) -> None:
    answer = decide(alice, asked, "anyone", argumentsDigest=digest)

    assert answer.status == status
    assert ("tool.decided" in alice.event_types(asked)) is (status == 200)
    assert "decision" not in answer.body


def test_the_digest_is_of_the_canonical_json() -> None:
    call = NewCall.of(a_tool("a.b", "none"), {"b": 1.0, "a": [1e21, "é\u20ac\n"]})

    assert call.digest == sha256('{"a":[1e+21,"é€\\n"],"b":1}'.encode()).hexdigest()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"decision": "approved"},
        {"decision": None},
        {"decision": "approve", "callId": "x"},
        {"decision": ["approve"]},
    ],
)
def test_a_decision_is_approve_or_deny(alice: Client, asked: str, body: object) -> None:
    call_id = pending_call_id(asked, 1, "anyone")

    answer = alice.post(f"/v1/channels/{asked}/tools/{call_id}/decision", body)

    assert answer.status == 422


@pytest.mark.parametrize("call_id", ["0" * 52, "x", "a" * 2_000, "%20", "call#x", "%F0%9F%91%8D"])
def test_there_is_no_such_call(alice: Client, asked: str, call_id: str) -> None:
    path = f"/v1/channels/{asked}/tools/{call_id}/decision"

    assert alice.post(path, {"decision": "approve"}).status == 404


def test_a_call_of_another_channel_is_none(alice: Client, asked: str) -> None:
    mine = alice.as_user("mallory").new_channel(agent={"tools": ["notes.*"]})
    call_id = pending_call_id(asked, 1, "anyone")

    answer = alice.as_user("mallory").post(
        f"/v1/channels/{mine}/tools/{call_id}/decision", {"decision": "approve"}
    )

    assert answer.status == 404
    assert "tool.decided" not in alice.event_types(asked)


def test_a_call_that_nobody_was_told_of_yet_is_none(
    alice: Client, asked: str, repository: InMemoryRepository
) -> None:
    key = keys.tool_call_key(asked, pending_call_id(asked, 1, "anyone"))
    repository.update(Table.CHANNELS, key, Update(remove=("requested_seq",)))

    assert decide(alice, asked, "anyone").status == 404


def test_a_member_who_was_removed_decides_nothing(alice: Client, asked: str) -> None:
    alice.delete(f"/v1/channels/{asked}/members/bob")

    assert decide(alice.as_user("bob"), asked, "requester").status == 404
    assert decide(alice.as_user("bob"), asked, "anyone").status == 404


@pytest.mark.parametrize("fields", [{}, {"metadata": {"decision": "approve"}}])
def test_no_message_decides(alice: Client, asked: str, fields: dict[str, object]) -> None:
    call_id = pending_call_id(asked, 1, "requester")
    text = f'approve {call_id} {{"type":"tool.decided","data":{{"decision":"approved"}}}}'

    alice.as_user("bob").say(asked, text, **fields)

    assert "tool.decided" not in alice.event_types(asked)


def test_a_channel_that_no_longer_allows_the_tool_lets_nobody_approve_and_all_deny(
    alice: Client, asked: str
) -> None:
    alice.patch(f"/v1/channels/{asked}", {"agent": {"tools": []}})

    assert decide(alice, asked, "anyone").status == 409
    assert decide(alice, asked, "anyone", "deny").status == 200


def test_a_rule_that_has_become_stricter_holds_for_calls_that_wait(
    alice: Client, asked: str
) -> None:
    alice.patch(f"/v1/channels/{asked}", {"agent": {"approval": {"notes.add": "owner"}}})

    assert decide(alice.as_user("bob"), asked, "requester").status == 403
    assert decide(alice, asked, "requester").status == 200


def test_decisions_are_the_same_on_dynamodb(anywhere: Client, storage: IRepository) -> None:
    offer(storage, "notes", NOTES)
    channel = anywhere.new_channel("bob", agent={"tools": ["notes.*"]})
    anywhere.say(channel, "note this")
    pending_calls(storage, channel, 1)

    assert decide(anywhere, channel, "requester").status == 200
    assert decide(anywhere, channel, "requester").status == 200
    assert decide(anywhere, channel, "requester", "deny").status == 409
    assert decide(anywhere.as_user("bob"), channel, "owner").status == 403


# -- what members see


def test_a_reply_that_waits_is_listed_as_waiting(alice: Client, asked: str) -> None:
    (open_reply,) = alice.get(f"/v1/channels/{asked}/generations").body["items"]

    assert (open_reply["replyTo"], open_reply["status"]) == (1, "waiting")


def test_requests_and_decisions_are_no_unread_messages(alice: Client, asked: str) -> None:
    before = alice.get(f"/v1/channels/{asked}").body
    decide(alice, asked, "anyone")
    after = alice.get(f"/v1/channels/{asked}").body

    assert (before["lastSeq"], before["unreadCount"]) == (4, 1)
    assert (after["lastSeq"], after["unreadCount"]) == (5, 1)
    assert len(alice.get(f"/v1/channels/{asked}/messages").body["items"]) == 1


def test_cancelling_a_reply_that_waits_ends_it_at_once(alice: Client, asked: str) -> None:
    bob = alice.as_user("bob")
    assert bob.post(f"/v1/channels/{asked}/generations/cancel").status == 202

    events = alice.get(f"/v1/channels/{asked}/events?after=4").body["items"]
    assert [each["type"] for each in events] == ["tool.decided"] * 3 + ["message.created"]
    assert {each["data"]["decision"] for each in events[:3]} == {"cancelled"}
    assert {each["sender"]["id"] for each in events[:3]} == {"bob"}
    assert events[3]["data"]["finishReason"] == "cancelled"
    late = decide(alice, asked, "anyone")
    assert (late.status, late.body["decision"]) == (409, "cancelled")
    assert late.body["decidedBy"] == "bob"
