"""What concerns every call: problems, media types, bodies, callers, CORS, the log line."""

import json
import re
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Answer, Client, proxy_event
from tests.integration.rest_api.conftest import MakeApi

from commons.dynamodb.exceptions import (
    StorageBusyError,
    StorageUnavailableError,
    StorageUnreachableError,
)
from commons.observability import metrics
from commons.services.messages import MessagesService
from rest_api.description.__main__ import PATH

JSON = {"Content-Type": "application/json"}


def send(client: Client, body: str | None, headers: dict[str, str]) -> Answer:
    return client.send(
        proxy_event("POST", "/v1/channels", user="alice", body=body, headers=headers)
    )


def assert_problem(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.body
    assert problem["type"] == f"urn:problem-type:chat:{code}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "nonsense",
        '{"name": NaN}',
        '{"name": "n"} x',
        "[" * 100_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        '{"name": 1' + "0" * 5_000 + "}",
        "\ufeff{}",
        '{"name": 1e400}',
    ],
)
def test_malformed_json_is_400(alice: Client, body: str) -> None:
    assert_problem(send(alice, body, JSON), 400, "malformed-request")


def test_no_body_at_all_is_400(alice: Client) -> None:
    assert_problem(send(alice, None, JSON), 400, "malformed-request")


def test_base64_that_is_no_utf_8_is_400(alice: Client) -> None:
    for body in ("/////w==", "not base64"):
        event = proxy_event(
            "POST", "/v1/channels", user="alice", body=body, headers=JSON, base64_encoded=True
        )
        assert_problem(alice.send(event), 400, "malformed-request")


@pytest.mark.parametrize("body", ["[]", "7", '"text"', "null", "true"])
def test_json_that_is_no_object_is_422(alice: Client, body: str) -> None:
    assert_problem(send(alice, body, JSON), 422, "invalid-request")


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonp",
        "multipart/form-data; boundary=x",
    ],
)
def test_a_body_that_is_not_json_is_415(alice: Client, media_type: str) -> None:
    answer = send(alice, '{"name": "n"}', {"content-type": media_type})

    assert_problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/json; charset=utf-8"},
        {"CONTENT-TYPE": "Application/JSON;charset=UTF-8"},
        {},
    ],
)
def test_json_may_say_so_in_any_spelling_or_not_at_all(
    alice: Client, headers: dict[str, str]
) -> None:
    assert send(alice, '{"name": "n"}', headers).status == 201


def test_each_wrong_field_is_named_by_its_path(alice: Client) -> None:
    answer = alice.post(
        "/v1/channels",
        {"members": ["ok", "not ok"], "agent": {"maxTokens": 0}, "extra": 1},
    )

    assert_problem(answer, 422, "invalid-request")
    assert {error["field"] for error in answer.body["errors"]} == {
        "name",
        "members.1",
        "agent.maxTokens",
        "extra",
    }
    assert all(error["message"] for error in answer.body["errors"])


@pytest.mark.parametrize(("depth", "status"), [(64, 422), (65, 400)])
def test_a_body_nests_64_levels_deep_at_most(alice: Client, depth: int, status: int) -> None:
    for nested in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        assert send(alice, nested, JSON).status == status


BODIES: dict[tuple[str, str], object] = {
    ("POST", "/v1/channels"): {"name": "n"},
    ("PATCH", "/v1/channels/{channelId}"): {"name": "other"},
    ("PUT", "/v1/channels/{channelId}/members/{userId}"): {"role": "owner"},
    ("POST", "/v1/channels/{channelId}/messages"): {"text": "t"},
    ("PATCH", "/v1/channels/{channelId}/messages/{seq}"): {"text": "t"},
    ("PUT", "/v1/channels/{channelId}/read"): {"seq": 1},
    ("POST", "/v1/channels/{channelId}/tools/{callId}/decision"): {"decision": "approve"},
}


OPERATIONS = [
    (method.upper(), path)
    for path, verbs in json.loads(PATH.read_text(encoding="utf-8"))["paths"].items()
    for method in verbs
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_query_parameter_that_is_unknown_there_is_422(
    alice: Client, method: str, path: str
) -> None:
    channel = alice.new_channel("bob")
    seq = alice.say(channel)
    known = {"channelId": channel, "userId": "bob", "seq": seq, "emoji": "x", "callId": "c"}
    target = re.sub(r"{(\w+)}", lambda name: str(known[name[1]]), path)
    for query in ("unknown=1", "unknown"):
        answer = alice.call(method, f"{target}?{query}", BODIES.get((method, path)))

        assert_problem(answer, 422, "invalid-request")
        assert [error["field"] for error in answer.body["errors"]] == ["unknown"]
    assert alice.event_types(channel) == ["message.created"]
    assert len(alice.get("/v1/channels").body["items"]) == 1


def test_a_field_name_that_cannot_be_encoded_is_answered_all_the_same(alice: Client) -> None:
    answer = send(alice, '{"name": "n", "agent": {"\\ud800": 1}, "\\udc00": 2}', JSON)

    assert_problem(answer, 422, "invalid-request")
    answer.text.encode()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/nothing"),
        ("GET", "/v2/channels"),
        ("PUT", "/v1/channels"),
        ("DELETE", "/v1/health"),
        ("OPTIONS", "/v1/channels"),
        ("GET", "/v1/channels/a/b/c/d"),
    ],
)
@pytest.mark.parametrize("user", ["alice", None])
def test_an_unknown_path_or_verb_is_404_token_or_not(
    alice: Client, method: str, path: str, user: str | None
) -> None:
    assert_problem(alice.send(proxy_event(method, path, user=user)), 404, "not-found")


@pytest.mark.parametrize(
    "channel", ["x", "a" * 22, "a" * 23, "..", "a%23state", "x" * 3_000, "%00", "%F0%9F%91%8D"]
)
def test_what_is_no_channel_is_404(alice: Client, channel: str) -> None:
    assert_problem(alice.get(f"/v1/channels/{channel}"), 404, "not-found")
    assert_problem(alice.post(f"/v1/channels/{channel}/messages", {"text": "t"}), 404, "not-found")


def test_a_call_that_no_authorizer_let_in_is_401(alice: Client) -> None:
    assert_problem(alice.send(proxy_event("GET", "/v1/me")), 401, "unauthenticated")
    assert_problem(alice.send(proxy_event("GET", "/v1/channels")), 401, "unauthenticated")


def test_me_is_who_the_authorizer_says(alice: Client) -> None:
    assert alice.get("/v1/me").body == {"userId": "alice", "name": "Alice"}
    nameless = alice.send(proxy_event("GET", "/v1/me", user="bob"))
    assert nameless.body == {"userId": "bob"}


def test_health_needs_no_token(alice: Client) -> None:
    answer = alice.send(proxy_event("GET", "/v1/health"))

    assert answer.status == 200
    assert answer.body == {"status": "ok", "version": "0.1.0"}


def test_a_ticket_is_issued_for_sixty_seconds(alice: Client) -> None:
    answer = alice.post("/v1/tickets")

    assert answer.status == 201
    assert answer.body["expiresIn"] == 60
    assert len(answer.body["ticket"]) >= 32


def test_an_unforeseen_exception_says_nothing_about_itself_and_counts(
    alice: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Not in the line that raises: a traceback quotes that.
    text = "secret table"

    def fail(*_: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(MessagesService, "post", fail)
    channel = alice.new_channel()

    answer = alice.post(f"/v1/channels/{channel}/messages", {"text": "what a user wrote"})

    assert_problem(answer, 500, "internal-error")
    assert metrics.provider.metric_set["Unhandled"]["Value"] == [1.0]
    logged = repr([vars(record) for record in caplog.records])
    for output in (answer.text, logged):
        assert "secret table" not in output
        assert "what a user wrote" not in output
    assert "RuntimeError" in logged


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (StorageBusyError, 429, "too-many-requests"),
        (StorageUnreachableError, 503, "unavailable"),
    ],
)
def test_storage_that_did_not_serve_is_429_or_503_with_retry_after(
    alice: Client,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[StorageUnavailableError],
    status: int,
    code: str,
) -> None:
    def fail(*_: object) -> None:
        raise kind("table chat_events is throttled")

    channel = alice.new_channel()
    monkeypatch.setattr(MessagesService, "post", fail)

    answer = alice.post(f"/v1/channels/{channel}/messages", {"text": "t"})

    assert_problem(answer, status, code)
    assert int(answer.headers["retry-after"]) >= 1
    assert "chat_events" not in answer.text


def test_a_call_logs_one_line_without_what_was_said(
    alice: Client, caplog: pytest.LogCaptureFixture
) -> None:
    channel = alice.new_channel()
    caplog.clear()

    alice.post(f"/v1/channels/{channel}/messages", {"text": "what a user wrote"})

    (record,) = caplog.records
    logged = vars(record)
    assert (logged["method"], logged["status"]) == ("POST", 201)
    assert "what a user wrote" not in repr(logged)


def test_answers_are_not_to_be_cached(alice: Client) -> None:
    for path in ("/v1/me", "/v1/nothing"):
        assert alice.get(path).headers["cache-control"] == "no-store"


# Browsers of other origins.

OURS, OTHER = "https://app.example", "https://evil.example"


@pytest.fixture
def open_api(repository: InMemoryRepository, make_api: MakeApi) -> Client:
    return make_api(repository, allowed_origins=f"{OURS}, https://second.example")


def preflight(client: Client, origin: str) -> Answer:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    return client.send(proxy_event("OPTIONS", "/v1/channels", headers=headers))


@pytest.mark.parametrize("origin", [OURS, "https://second.example"])
def test_a_preflight_of_an_allowed_origin_is_answered(open_api: Client, origin: str) -> None:
    answer = preflight(open_api, origin)

    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == origin
    assert set(answer.headers["access-control-allow-methods"].split(",")) >= {
        "GET",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
    }
    allowed = answer.headers["access-control-allow-headers"].lower().split(",")
    assert {"authorization", "content-type", "idempotency-key"} <= set(allowed)
    assert answer.headers["vary"] == "Origin"


def test_a_preflight_of_another_origin_gets_no_permission(open_api: Client) -> None:
    assert "access-control-allow-origin" not in preflight(open_api, OTHER).headers


def call_from(client: Client, origin: str, path: str) -> Answer:
    return client.call("GET", path, headers={"Origin": origin})


@pytest.mark.parametrize(("path", "status"), [("/v1/me", 200), ("/v1/nothing", 404)])
def test_answers_and_problems_carry_cors_headers(open_api: Client, path: str, status: int) -> None:
    ours, other = call_from(open_api, OURS, path), call_from(open_api, OTHER, path)

    assert (ours.status, other.status) == (status, status)
    assert ours.headers["access-control-allow-origin"] == OURS
    exposed = ours.headers["access-control-expose-headers"]
    assert set(exposed.split(",")) == {"Idempotent-Replayed", "Retry-After"}
    assert "access-control-allow-origin" not in other.headers
    assert ours.headers["vary"] == other.headers["vary"] == "Origin"


def test_without_allowed_origins_no_browser_of_another_origin_gets_in(alice: Client) -> None:
    assert not [name for name in call_from(alice, OURS, "/v1/me").headers if "access" in name]


def test_the_handler_answers_with_the_shape_of_a_lambda_proxy(alice: Client) -> None:
    answer: dict[str, Any] = alice.api.handle(
        proxy_event("GET", "/v1/me", user="alice"), LambdaContext()
    )

    assert answer["isBase64Encoded"] is False
    assert isinstance(answer["body"], str)
