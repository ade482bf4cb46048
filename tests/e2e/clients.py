"""What a REST consumer and a WebSocket client hold in their hands; nothing of the product's code."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

type Json = dict[str, Any]  # frames and bodies are read as the outside reads them: untyped JSON

type Redeploy = Callable[[str, Mapping[str, str]], None]
"""Deploys a stack of that name with other values for its parameters."""

REPLY_TIMEOUT = 30.0
"""Seconds: a cold worker and the demo model's whole speech on a busy two-core machine."""


class RestClient:
    """One user's REST calls; each method answers the response's JSON and insists on its status."""

    def __init__(self, rest_url: str, token: str) -> None:
        self.rest_url = rest_url
        self.token = token
        self.http = httpx.Client(
            base_url=rest_url, headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.http.close()

    def again(self) -> "RestClient":
        """The same user with a connection of its own, to be closed by the caller."""
        return RestClient(self.rest_url, self.token)

    def call(self, method: str, path: str, expected: int, **request: Any) -> httpx.Response:
        response = self.http.request(method, f"{self.rest_url}/v1{path}", **request)
        assert response.status_code == expected, (method, path, response.text)
        return response

    def create_channel(self, *members: str, mode: str = "off", name: str = "room") -> str:
        body = {"name": name, "members": list(members), "agent": {"mode": mode}}
        channel_id = self.call("POST", "/channels", 201, json=body).json()["channelId"]
        assert isinstance(channel_id, str)
        return channel_id

    def post(self, channel_id: str, text: str, **fields: Any) -> Json:
        body = {"text": text, **fields}
        event: Json = self.call("POST", f"/channels/{channel_id}/messages", 201, json=body).json()
        return event

    def events(self, channel_id: str, after: int = 0) -> list[Json]:
        """The whole log after a number, page by page."""
        items: list[Json] = []
        while True:
            params = {"after": items[-1]["seq"] if items else after, "limit": 100}
            page = self.call("GET", f"/channels/{channel_id}/events", 200, params=params).json()
            items += page["items"]
            if not page["hasMore"]:
                return items

    def ticket(self) -> str:
        ticket = self.call("POST", "/tickets", 201).json()["ticket"]
        assert isinstance(ticket, str)
        return ticket


class Socket:
    """An open WebSocket that keeps every frame in the order it came."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[Json] = []
        self.arrived = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for message in self.connection:
                with self.arrived:
                    self.frames.append(json.loads(message))
                    self.arrived.notify_all()
        except ConnectionClosed:
            pass  # the test that cut the line knows

    def wait_for(self, met: Callable[[list[Json]], bool], timeout: float = REPLY_TIMEOUT) -> None:
        """Waits until the frames so far meet a condition, or fails with what came instead."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: met(self.frames), timeout), self.frames

    def send(self, action: str, **fields: Any) -> None:
        self.connection.send(json.dumps({"action": action, **fields}))

    def ask(self, action: str, *, timeout: float = REPLY_TIMEOUT, **fields: Any) -> Json:
        """Sends a frame and answers the frame that carries its requestId back."""
        request_id = uuid.uuid4().hex
        self.send(action, requestId=request_id, **fields)
        self.wait_for(lambda frames: any(f.get("requestId") == request_id for f in frames), timeout)
        return next(frame for frame in self.frames if frame.get("requestId") == request_id)

    def events(self, channel_id: str) -> list[Json]:
        """The events of a channel as they arrived, repeats left out."""
        seen: dict[int, Json] = {}
        for frame in list(self.frames):
            if frame.get("type") == "events":
                for event in frame["events"]:
                    if event["channelId"] == channel_id:
                        seen.setdefault(event["seq"], event)
        return list(seen.values())

    def deltas(self, channel_id: str, reply_to: int) -> list[Json]:
        return [
            frame
            for frame in list(self.frames)
            if frame.get("type") == "delta"
            and (frame["channelId"], frame["replyTo"]) == (channel_id, reply_to)
        ]

    def wait_for_events(
        self, channel_id: str, count: int, timeout: float = REPLY_TIMEOUT
    ) -> list[Json]:
        self.wait_for(lambda _frames: len(self.events(channel_id)) >= count, timeout)
        return self.events(channel_id)


def spoken(deltas: list[Json]) -> str:
    """The text that deltas have said so far; a snapshot replaces what was before it."""
    text = ""
    for delta in deltas:
        text = delta["text"] if delta.get("snapshot") else text + delta["text"]
    return text


@contextmanager
def open_socket(
    websocket_url: str, query: str, headers: dict[str, str] | None = None
) -> Iterator[Socket]:
    with connect(
        f"{websocket_url}?{query}" if query else websocket_url,
        additional_headers=headers,
        open_timeout=30,
        close_timeout=2,
        max_size=None,
    ) as connection:
        yield Socket(connection)


def connections_in(client: RestClient, channel: str) -> int:
    presence = client.call("GET", f"/channels/{channel}/presence", 200).json()["items"]
    return sum(item["connections"] for item in presence)


def eventually(met: Callable[[], bool], timeout: float = REPLY_TIMEOUT) -> None:
    deadline = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)
