"""No text, token or exception's message gets into a log line, a metric or a problem.

The fixture that every test has fails those where the canary word gets out.
"""

from collections.abc import Sequence

import pytest
from tests.doubles.canary import canary
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client, proxy_event
from tests.integration.rest_api.conftest import MakeApi

from commons.dal import Item, Key, Page, Query, Table, Write


def test_whatever_is_said_stays_in_the_channel(alice: Client) -> None:
    channel = alice.new_channel(
        "bob", agent={"systemPrompt": canary("prompt")}, name=canary("name")
    )
    path = f"/v1/channels/{channel}/messages"
    fields = {"text": canary("text"), "metadata": {"key": canary("metadata")}}
    assert alice.post(path, {**fields, "clientMessageId": "once"}).status == 201
    assert alice.post(path, {**fields, "clientMessageId": "once"}).status == 200
    assert alice.post(path, {"text": canary("other"), "clientMessageId": "once"}).status == 409
    assert alice.patch(f"{path}/1", {"text": canary("edit")}).status == 200
    assert alice.as_user("bob").patch(f"{path}/1", {"text": canary("edit")}).status == 403
    assert alice.get(path).status == 200
    assert alice.delete(f"{path}/1").status == 204
    assert alice.patch(f"{path}/1", {"text": canary("late")}).status == 409


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/v1/channels", {"name": "x", "members": [canary("#")]}),
        ("POST", "/v1/channels", {"name": "x" * 121 + canary("name")}),
        ("POST", "/v1/channels", {"name": "x", "agent": {"mode": canary("mode")}}),
        ("POST", "/v1/channels", {"name": "x", "agent": {"modelId": canary("model")}}),
        ("POST", "/v1/channels", {"name": "x", "agent": {"temperature": canary("hot")}}),
        ("POST", "{channel}/messages", {"text": "x", "clientMessageId": canary(" ")}),
        ("POST", "{channel}/messages", {"text": "x", "replyTo": canary("seq")}),
        ("POST", "{channel}/messages", {"text": [canary("text")]}),
        ("POST", "{channel}/messages", {"text": canary("text") * 2_000}),
        ("POST", "{channel}/messages", {"text": "x", "metadata": canary("metadata")}),
        ("PATCH", "{channel}/messages/1", {"text": {"a": canary("text")}}),
        ("PUT", "{channel}/members/dave", {"role": canary("role")}),
        ("PUT", "{channel}/read", {"seq": canary("seq")}),
        ("PATCH", "{channel}", {"agent": {"tools": [canary("tool")]}}),
        ("PATCH", "{channel}", {"agent": {"approval": {canary("tool"): "owner"}}}),
        ("POST", "{channel}/tools/a/decision", {"decision": canary("decision")}),
        ("POST", f"{{channel}}/tools/{canary('call')}/decision", {"decision": "approve"}),
        ("GET", f"{{channel}}/messages?cursor={canary('cursor')}", None),
        ("GET", f"{{channel}}/messages?after={canary('after')}", None),
        ("GET", f"{{channel}}/members?limit={canary('limit')}", None),
    ],
)
def test_a_problem_never_says_what_was_sent(
    alice: Client, method: str, target: str, body: object
) -> None:
    channel = alice.new_channel()
    alice.say(channel)

    answer = alice.call(method, target.format(channel=f"/v1/channels/{channel}"), body)

    assert 400 <= answer.status < 500


def test_a_body_that_is_no_json_and_a_token_are_not_repeated(alice: Client) -> None:
    event = proxy_event(
        "POST",
        "/v1/channels",
        user="alice",
        body=f'{{"name": {canary("text")}',
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {canary('token')}"},
    )

    assert alice.send(event).status == 400


class BrokenRepository(InMemoryRepository):
    """Fails with a message that quotes what it was given."""

    broken = False

    def _break(self) -> None:
        if self.broken:
            raise RuntimeError(canary("exception"))

    def batch_get(
        self, table: Table, keys: Sequence[Key], *, consistent: bool = False
    ) -> list[Item]:
        self._break()
        return super().batch_get(table, keys, consistent=consistent)

    def find(self, table: Table, key: Key, *, consistent: bool = False) -> Item | None:
        self._break()
        return super().find(table, key, consistent=consistent)

    def query(self, query: Query) -> Page:
        self._break()
        return super().query(query)

    def transact(self, writes: Sequence[Write]) -> None:
        self._break()
        super().transact(writes)


def test_an_unforeseen_exception_is_named_and_not_quoted(make_api: MakeApi) -> None:
    broken = BrokenRepository()
    alice = make_api(broken)
    channel = alice.new_channel()
    broken.broken = True

    for method, target, body in (
        ("POST", "/v1/channels", {"name": "x"}),
        ("GET", "/v1/channels", None),
        ("GET", f"/v1/channels/{channel}/messages", None),
        ("POST", f"/v1/channels/{channel}/messages", {"text": canary("text")}),
    ):
        assert alice.call(method, target, body).status == 500
