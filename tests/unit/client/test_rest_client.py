"""The REST clients: what is asked, what is tried again, what is raised."""

import base64
import contextlib
import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from chat_client import (
    AgentChanges,
    AsyncChatClient,
    Backoff,
    ChatClient,
    ChatError,
    MessageCreated,
    ProtocolError,
    Retries,
    TokenError,
    ToolDecided,
    UnreachableError,
    arguments_digest,
)
from chat_client.tokens import SyncToken
from commons.records.tool import arguments_digest as digest_of_the_server

ROOT = Path(__file__).parents[3]
DESCRIPTION = ROOT / "stacks" / "rest" / "openapi.json"
DIGESTS = ROOT / "libs" / "client-js" / "test" / "support" / "digests.json"
"""Values, and what their canonical JSON comes to; the JavaScript client is held to it, too."""

HEALTH = {"status": "ok", "version": "1"}
CHANNEL = {
    "channelId": "room",
    "name": "room",
    "createdAt": "2026-01-02T03:04:05.678Z",
    "createdBy": "alice",
    "role": "guest",
    "memberCount": 1,
    "lastSeq": 0,
    "readSeq": 0,
    "unreadCount": 0,
    "agent": {"mode": "sometimes", "modelId": "demo"},
    "colour": "blue",
}
EVENT = {
    "channelId": "room",
    "seq": 1,
    "type": "message.created",
    "createdAt": "2026-01-02T03:04:05.678Z",
    "sender": {"id": "alice", "kind": "user"},
    "data": {"text": "hello"},
}

FAR = 4_000_000_000
STALE, FRESH = (
    f"e30.{base64.urlsafe_b64encode(json.dumps({'exp': FAR + n}).encode()).decode()}.x"
    for n in (0, 1)
)

type Answer = httpx.Response | Exception


class Server:
    """Answers one thing after the other and notes what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, token: SyncToken = "a token") -> ChatClient:
        return ChatClient(
            "http://chat.test/",
            token,
            transport=httpx.MockTransport(self.answer),
            sleep=self.waits.append,
            retries=Retries(tries=4, backoff=Backoff(0.25, 8.0, uniform=lambda _low, high: high)),
        )

    def body(self, number: int = 0) -> object:
        return json.loads(self.requests[number].content)


def ok(body: object, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


def refused(status: int, **headers: str) -> httpx.Response:
    body = {"type": "urn:x", "title": "No", "status": status, "detail": "because"}
    return httpx.Response(status, json=body, headers=headers)


def in_snake_case(operation_id: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in operation_id)


def test_every_described_operation_is_a_method_of_both_clients() -> None:
    """Who adds an operation adds it to `operations.py` and names it in both clients."""
    described = json.loads(DESCRIPTION.read_text())["paths"]
    names = {
        in_snake_case(operation["operationId"])
        for path, verbs in described.items()
        if path.startswith("/v1/")
        for operation in verbs.values()
        if isinstance(operation, dict) and "operationId" in operation
    }

    assert names
    for client in (ChatClient, AsyncChatClient):
        assert names - set(dir(client)) == set()


def test_both_clients_have_the_same_methods() -> None:
    assert {name for name in dir(ChatClient) if not name.startswith("_")} == {
        name for name in dir(AsyncChatClient) if not name.startswith("_")
    } - {"tokens"}


def test_a_method_shows_the_signature_of_its_operation() -> None:
    signature = inspect.signature(Server().client().post_message)

    assert list(signature.parameters)[:3] == ["channel_id", "text", "client_message_id"]


def test_a_call_shows_the_token_and_reads_the_answer() -> None:
    server = Server(ok(CHANNEL))

    channel = server.client().get_channel("a/b")

    assert channel.created_at == datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    assert server.requests[0].headers["Authorization"] == "Bearer a token"
    assert server.requests[0].url.raw_path == b"/v1/channels/a%2Fb"


def test_unknown_values_and_fields_pass_through() -> None:
    channel = Server(ok(CHANNEL)).client().get_channel("room")

    assert (channel.role, channel.agent.mode) == ("guest", "sometimes")
    assert channel.model_extra == {"colour": "blue"}


def test_health_needs_no_token() -> None:
    server = Server(ok(HEALTH))

    server.client().get_health()

    assert "Authorization" not in server.requests[0].headers


def test_only_what_was_said_about_an_agent_is_sent_a_none_included() -> None:
    server = Server(ok(CHANNEL), ok(CHANNEL))
    client = server.client()

    client.update_channel("room", agent=AgentChanges(mode="off", system_prompt=None))
    client.update_channel("room", agent={"modelId": "demo", "tools": ["a.b"]})

    assert server.body(0) == {"agent": {"mode": "off", "systemPrompt": None}}
    assert server.body(1) == {"agent": {"modelId": "demo", "tools": ["a.b"]}}


def test_a_message_has_an_id_that_its_tries_share_and_the_next_one_has_not() -> None:
    server = Server(refused(503), httpx.ReadTimeout("slow"), ok(EVENT, 201), ok(EVENT, 201))
    client = server.client()

    event = client.post_message("room", "hello")
    client.post_message("room", "hello")

    assert isinstance(event, MessageCreated)
    ids = [json.loads(request.content)["clientMessageId"] for request in server.requests]
    assert ids[0] == ids[1] == ids[2] != ids[3]


def test_a_channel_has_a_key_that_its_tries_share() -> None:
    server = Server(refused(502), ok(CHANNEL, 201))

    server.client().create_channel("room", members=["bob"], agent={"mode": "off"})

    assert server.body() == {"name": "room", "members": ["bob"], "agent": {"mode": "off"}}
    first, second = (request.headers["Idempotency-Key"] for request in server.requests)
    assert first == second


def test_waits_grow_and_honour_retry_after() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    server = Server(
        refused(429), refused(503, **{"Retry-After": "2"}), refused(429, **{"Retry-After": date})
    )
    server.answers.append(ok(HEALTH))

    server.client().get_health()

    first, second, third = server.waits
    assert (first, second) == (0.25, 2.5)
    assert 29 < third <= 31


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        ([refused(500)], 1),
        ([refused(429)] * 4, 4),
        ([refused(429, **{"Retry-After": "3600"})], 1),
        ([refused(404)], 1),
    ],
)
def test_what_no_further_try_mends_is_raised(answers: list[httpx.Response], requests: int) -> None:
    server = Server(*answers)

    with pytest.raises(ChatError, match="because") as raised:
        server.client().get_channel("room")

    assert raised.value.status == answers[-1].status_code
    assert len(server.requests) == requests


def test_a_problem_keeps_its_fields_and_what_it_says_besides() -> None:
    body = {
        "title": "Conflict",
        "status": 409,
        "detail": "decided",
        "decidedBy": "bob",
        "errors": [{"field": "name", "message": "too long"}],
    }

    with pytest.raises(ChatError, match="name: too long") as raised:
        Server(ok(body, 409)).client().get_channel("room")

    assert raised.value.problem is not None
    assert raised.value.problem.model_extra == {"decidedBy": "bob"}
    assert raised.value.problem.errors[0].field == "name"


def test_a_refusal_that_is_no_problem_is_one_here() -> None:
    with pytest.raises(ChatError) as raised:
        Server(httpx.Response(413, text="<html>")).client().get_channel("room")

    assert raised.value.status == 413


def test_no_answer_at_all_is_said_so() -> None:
    server = Server(*[httpx.ConnectError("refused")] * 4)

    with pytest.raises(UnreachableError) as raised:
        server.client().get_me()

    assert raised.value.status is None
    assert isinstance(raised.value.__cause__, httpx.ConnectError)


def test_an_answer_out_of_contract_names_the_field_and_no_value() -> None:
    with pytest.raises(ProtocolError) as raised:
        Server(ok({"userName": "secret"})).client().get_me()

    assert "userId" in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "requests"),
    [
        (refused(502), 1),
        (httpx.ReadTimeout("slow"), 1),
        (refused(503), 2),
        (httpx.ConnectError("refused"), 2),
    ],
)
def test_what_may_have_happened_is_not_asked_twice_where_that_counts(
    answer: Answer, requests: int
) -> None:
    server = Server(answer, httpx.Response(202, json={}))
    client = server.client()

    if requests == 1:
        with pytest.raises(ChatError):
            client.regenerate_reply("room", 2)
    else:
        client.regenerate_reply("room", 2)

    assert len(server.requests) == requests


def test_what_is_gone_at_the_second_try_was_removed_by_the_first() -> None:
    Server(httpx.ReadTimeout("slow"), refused(404)).client().delete_channel("room")

    for refusals in ([refused(404)], [refused(503), refused(404)], [refused(401), refused(404)]):
        with pytest.raises(ChatError):
            Server(*refusals).client(lambda: "a token").delete_channel("room")


def test_a_refused_token_is_renewed_once() -> None:
    tokens = iter([STALE, FRESH])
    server = Server(refused(503), refused(401), refused(429), ok({"userId": "alice"}))

    server.client(lambda: next(tokens)).get_me()

    assert [request.headers["Authorization"] for request in server.requests] == [
        f"Bearer {STALE}",
        f"Bearer {STALE}",
        f"Bearer {FRESH}",
        f"Bearer {FRESH}",
    ]
    with pytest.raises(ChatError):
        Server(refused(401)).client("fixed").get_me()
    with pytest.raises(ChatError):
        Server(refused(401), refused(401)).client(lambda: "refused").get_me()


def test_a_token_callable_that_fails_is_a_chat_error() -> None:
    def token() -> str:
        raise OSError("no network")

    with pytest.raises(TokenError, match="no network"):
        Server().client(token).get_me()


@pytest.mark.parametrize(
    ("call", "method", "path", "body"),
    [
        (lambda c: c.put_member("r", "a|b"), "PUT", "/v1/channels/r/members/a%7Cb", {"role": "member"}),
        (lambda c: c.remove_member("r", "bob"), "DELETE", "/v1/channels/r/members/bob", None),
        (lambda c: c.edit_message("r", 3, "new"), "PATCH", "/v1/channels/r/messages/3", {"text": "new"}),
        (lambda c: c.delete_message("r", 3), "DELETE", "/v1/channels/r/messages/3", None),
        (
            lambda c: c.add_reaction("r", 3, "👍"),
            "PUT",
            "/v1/channels/r/messages/3/reactions/%F0%9F%91%8D",
            None,
        ),
        (
            lambda c: c.remove_reaction("r", 3, "%"),
            "DELETE",
            "/v1/channels/r/messages/3/reactions/%25",
            None,
        ),
        (
            lambda c: c.cancel_generations("r", reply_to=3),
            "POST",
            "/v1/channels/r/generations/cancel",
            {"replyTo": 3},
        ),
        (lambda c: c.cancel_generations("r"), "POST", "/v1/channels/r/generations/cancel", {}),
        (lambda c: c.set_read_mark("r", 3), "PUT", "/v1/channels/r/read", {"seq": 3}),
        (lambda c: c.list_messages("r", before=9), "GET", "/v1/channels/r/messages?before=9", None),
        (lambda c: c.list_events("r"), "GET", "/v1/channels/r/events?after=0", None),
        (lambda c: c.list_generations("r"), "GET", "/v1/channels/r/generations", None),
    ],
)  # fmt: skip
def test_operations_ask_what_the_contract_says(
    call: Callable[[ChatClient], object], method: str, path: str, body: object
) -> None:
    server = Server(httpx.Response(204))
    with contextlib.suppress(ProtocolError):  # the answer is not what is tested here
        call(server.client())

    request = server.requests[0]
    assert (request.method, request.url.raw_path.decode()) == (method, path)
    assert (json.loads(request.content) if request.content else None) == body


@pytest.mark.anyio
async def test_the_async_client_waits_and_tries_alike() -> None:
    server = Server(refused(429), httpx.ReadTimeout("slow"), ok(EVENT, 201))

    async def sleep(seconds: float) -> None:
        server.waits.append(seconds)

    async def token() -> str:
        return "a token"

    async with AsyncChatClient(
        "http://chat.test", token, transport=httpx.MockTransport(server.answer), sleep=sleep
    ) as client:
        event = await client.post_message("room", "hello")

    assert event.seq == 1
    assert len(server.waits) == 2
    assert len({json.loads(r.content)["clientMessageId"] for r in server.requests}) == 1


def test_a_decision_says_what_it_is_about_and_answers_the_event_that_stands() -> None:
    decided = {
        **EVENT,
        "type": "tool.decided",
        "data": {"callId": "c/1", "decision": "approved", "target": 1, "generation": 1},
    }
    server = Server(httpx.ConnectError("lost"), ok(decided))

    event = server.client().decide_call("room", "c/1", "approve", arguments_digest="abc")

    assert isinstance(event, ToolDecided)
    assert event.data.decision == "approved"
    assert server.requests[1].url.raw_path == b"/v1/channels/room/tools/c%2F1/decision"
    assert server.body(1) == {"decision": "approve", "argumentsDigest": "abc"}


def test_a_refused_decision_says_who_decided_what() -> None:
    problem = {"status": 409, "decision": "denied", "decidedBy": "bob", "title": "Decided before"}
    server = Server(httpx.Response(409, json=problem))

    with pytest.raises(ChatError) as refused:
        server.client().decide_call("room", "c1", "approve")

    assert refused.value.problem is not None
    assert refused.value.problem.model_extra == {"decision": "denied", "decidedBy": "bob"}


@pytest.mark.parametrize("case", json.loads(DIGESTS.read_text()))
def test_the_digest_of_arguments_is_the_servers(case: dict[str, Any]) -> None:
    assert arguments_digest(case["arguments"]) == case["digest"]
    assert digest_of_the_server(case["arguments"]) == case["digest"]
