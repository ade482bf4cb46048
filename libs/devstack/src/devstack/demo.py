"""A scripted conversation over real HTTP and a real WebSocket: the product's main job, visible."""

import json
import sys
import time
from typing import Any, TextIO

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from devstack.errors import DevstackError
from devstack.outputs import Outputs
from devstack.users import Users

type Json = dict[str, Any]

QUESTION = "Hello Bob! And hello agent: what is this place?"
CALL_SECONDS = 30.0
REPLY_SECONDS = 60.0
"""A local model of one's own may need to load first."""


class Demo:
    """Alice asks through REST; bob's open WebSocket shows the question and the streamed reply."""

    def __init__(self, outputs: Outputs, users: Users, stream: TextIO | None = None) -> None:
        self._outputs = outputs
        self._users = users
        self._stream = stream or sys.stdout

    def play(self) -> None:
        """Plays it once.

        Raises:
            DevstackError: something did not come; the message says what.
        """
        with self._client("alice") as alice, self._client("bob") as bob:
            channel = self._call(
                alice,
                "/v1/channels",
                {"name": "demo", "members": ["bob"]},
            )
            channel_id = channel["channelId"]
            self._say(f"alice  POST /v1/channels  ->  {channel_id}, with bob and the agent")
            ticket = self._call(bob, "/v1/tickets")["ticket"]
            url = f"{self._outputs.websocket_url}?ticket={ticket}&channels={channel_id}"
            try:
                with connect(url, open_timeout=CALL_SECONDS, close_timeout=2) as socket:
                    self._say("bob    opens a WebSocket with a one-time ticket, subscribed to it")
                    question = self._call(
                        alice,
                        f"/v1/channels/{channel_id}/messages",
                        {"text": QUESTION, "clientMessageId": "demo-1"},
                    )
                    self._say(f"alice  POST .../messages  ->  seq {question['seq']}")
                    self._say("\nWhat bob's socket shows:\n")
                    self._watch(socket, channel_id, question["seq"])
            except (OSError, WebSocketException) as error:
                raise DevstackError(f"Bob's WebSocket was lost: {error}") from error

    def _watch(self, socket: ClientConnection, channel_id: str, question_seq: int) -> None:
        started = time.monotonic()
        shown = _Shown(question_seq, self._stream)
        while shown.reply is None:
            left = started + REPLY_SECONDS - time.monotonic()
            try:
                frame: Json = json.loads(socket.recv(timeout=max(0.0, left)))
            except TimeoutError as error:
                raise DevstackError(
                    f"Within {REPLY_SECONDS:.0f} s bob's socket did not show {shown.missing()}."
                ) from error
            if frame["type"] == "delta" and frame["channelId"] == channel_id:
                shown.delta(frame)
            elif frame["type"] == "events":
                for event in frame["events"]:
                    shown.event(event)
        shown.check()
        usage = shown.reply["data"].get("usage", {})
        self._say(
            f"\n\nThe reply came in {shown.pieces} pieces, was complete after "
            f"{time.monotonic() - started:.1f} s and stands in the log as seq "
            f"{shown.reply['seq']} ({usage.get('modelId', 'model unknown')}, "
            f"{usage.get('outputTokens', 0)} tokens)."
        )

    def _client(self, user: str) -> httpx.Client:
        token = self._users.token(user)
        return httpx.Client(
            base_url=self._outputs.rest_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=CALL_SECONDS,
        )

    def _call(self, client: httpx.Client, path: str, body: Json | None = None) -> Json:
        """A POST: everything that the demo asks for is new."""
        try:
            answer = client.post(f"{self._outputs.rest_url}{path}", json=body)
        except httpx.HTTPError as error:
            raise DevstackError(f"POST {path} got no answer: {error}") from error
        if answer.status_code != httpx.codes.CREATED:
            raise DevstackError(f"POST {path} answered {answer.status_code}: {answer.text}")
        parsed: Json = answer.json()
        return parsed

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class _Shown:
    """What a terminal shows of the conversation so far."""

    def __init__(self, question_seq: int, stream: TextIO) -> None:
        self._question_seq = question_seq
        self._stream = stream
        self._question_seen = False
        self._spoken = ""
        self.pieces = 0
        self.reply: Json | None = None

    def delta(self, frame: Json) -> None:
        if frame["replyTo"] != self._question_seq:
            return
        snapshot = frame.get("snapshot", False)
        if not self.pieces or snapshot:
            self._write("  agent  " if not self.pieces else "\n  agent  ")
        self._spoken = frame["text"] if snapshot else self._spoken + frame["text"]
        self.pieces += 1
        self._write(frame["text"])

    def event(self, event: Json) -> None:
        if event["seq"] == self._question_seq and not self._question_seen:
            self._question_seen = True
            self._write(f"  alice  {event['data']['text']}\n")
        elif event["type"] == "agent.failed":
            raise DevstackError(f"The agent failed: {event['data']['reason']}.")
        elif event["data"].get("replyTo") == self._question_seq:
            self.reply = event

    def missing(self) -> str:
        if not self._question_seen:
            return "alice's message"
        return "the agent's final message" if self.pieces else "any piece of the agent's reply"

    def check(self) -> None:
        """Insists on a streamed reply whose pieces are the final text."""
        if not self._question_seen:
            raise DevstackError("Bob's socket showed the reply but not alice's message.")
        if not self.pieces:
            raise DevstackError("The agent's reply came whole, without a single piece before it.")
        if self.reply is None or self._spoken != self.reply["data"]["text"]:
            raise DevstackError("The pieces of the reply do not add up to the final message.")

    def _write(self, text: str) -> None:
        print(text, end="", file=self._stream, flush=True)
