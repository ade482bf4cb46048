"""Calls the REST API as its callers do: events in the shape of API Gateway, over real services."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote

from aws_lambda_powertools.utilities.typing import LambdaContext

from commons.realtime.broadcaster import Outcome, Post, Revalidate
from rest_api.app import RestApi


class RecordingBroadcaster:
    """Keeps what was posted."""

    def __init__(self) -> None:
        self.posts: list[Post] = []

    def send(
        self,
        posts: Iterable[Post],
        *,
        budget_seconds: float = 10.0,  # noqa: ARG002 - of the interface
        revalidate: Revalidate | None = None,  # noqa: ARG002
    ) -> Outcome:
        sent = list(posts)
        self.posts += sent
        return Outcome(delivered=len(sent))

    def delete_connection(self, connection_id: str) -> bool:  # noqa: ARG002
        return True

    def frames_to(self, connection_id: str) -> list[dict[str, Any]]:
        return [
            json.loads(frame)
            for post in self.posts
            if post.connection_id == connection_id
            for frame in post.frames
        ]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


def proxy_event(
    method: str,
    target: str,
    *,
    user: str | None = None,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
    base64_encoded: bool = False,
    name: str | None = None,
) -> dict[str, Any]:
    """What API Gateway sends for a request; the path percent-encoded, as on AWS."""
    path, _, query = target.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    multiple: dict[str, list[str]] = {}
    for key, value in pairs:
        multiple.setdefault(key, []).append(value)
    authorizer = {"principalId": user, "userId": user, "expiresAt": "4102444800"}
    if name is not None:
        authorizer["name"] = name
    all_headers = dict(headers or {})
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": all_headers or None,
        "multiValueHeaders": {key: [value] for key, value in all_headers.items()} or None,
        "queryStringParameters": dict(pairs) or None,
        "multiValueQueryStringParameters": multiple or None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "httpMethod": method,
            "path": f"/test{path}",
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "resourcePath": "/{proxy+}",
            "stage": "test",
            "identity": {"sourceIp": "127.0.0.1", "userAgent": "pytest"},
            **({"authorizer": authorizer} if user is not None else {}),
        },
        "body": body,
        "isBase64Encoded": base64_encoded,
    }


@dataclass
class Client:
    """Calls the API as a user."""

    api: RestApi
    user: str = "alice"

    def as_user(self, user: str) -> "Client":
        return Client(self.api, user)

    def send(self, event: dict[str, Any]) -> Answer:
        answer = self.api.handle(event, LambdaContext())
        headers = {name.lower(): values[-1] for name, values in answer["multiValueHeaders"].items()}
        return Answer(answer["statusCode"], headers, answer["body"] or "")

    def call(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        text = None if body is None else json.dumps(body)
        content = {} if body is None else {"Content-Type": "application/json"}
        return self.send(
            proxy_event(
                method,
                target,
                user=self.user,
                name=self.user.title(),
                body=text,
                headers={**content, **(headers or {})},
            )
        )

    def get(self, target: str) -> Answer:
        return self.call("GET", target)

    def post(self, target: str, body: object = None, **headers: str) -> Answer:
        return self.call("POST", target, body, headers=headers)

    def put(self, target: str, body: object = None) -> Answer:
        return self.call("PUT", target, body)

    def patch(self, target: str, body: object) -> Answer:
        return self.call("PATCH", target, body)

    def delete(self, target: str) -> Answer:
        return self.call("DELETE", target)

    # What most tests begin with.

    def new_channel(self, *members: str, **fields: object) -> str:
        answer = self.post("/v1/channels", {"name": "Team", "members": list(members), **fields})
        assert answer.status == 201, answer.text
        return str(answer.body["channelId"])

    def say(self, channel: str, text: str = "hello", **fields: object) -> int:
        answer = self.post(f"/v1/channels/{channel}/messages", {"text": text, **fields})
        assert answer.status == 201, answer.text
        return int(answer.body["seq"])

    def event_types(self, channel: str) -> list[str]:
        events = self.get(f"/v1/channels/{channel}/events?limit=100").body["items"]
        return [event["type"] for event in events]

    def react(self, channel: str, seq: int, emoji: str) -> Answer:
        path = f"/v1/channels/{channel}/messages/{seq}/reactions/{quote(emoji, safe='')}"
        return self.put(path)


def walk(client: Client, path: str) -> Iterator[list[dict[str, Any]]]:
    """The items of each page from `path` on, as far as the cursors lead."""
    target = path
    while True:
        answer = client.get(target)
        assert answer.status == 200, answer.text
        yield answer.body["items"]
        if answer.body["nextCursor"] is None:
            return
        target = f"{path}&cursor={answer.body['nextCursor']}"
