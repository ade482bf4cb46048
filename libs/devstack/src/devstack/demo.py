"""A scripted conversation over real HTTP and a real WebSocket: the product's main job, visible."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from devstack.errors import DevstackError
from devstack.outputs import Outputs
from devstack.users import Users

type Json = dict[str, Any]

QUESTION = "Hello Bob! And hello agent: what is this place?"
NOTE = "note: buy milk for the demo"
NOTES_TOOL = "notes.add"
SCRIPTED = "scripted"
"""In the demo model's id: another model may have a mind of its own."""

CALL_SECONDS = 30.0
REPLY_SECONDS = 60.0
"""A local model of one's own may need to load first."""


class Demo:
    """Alice asks through REST; bob's open WebSocket shows the question and the streamed reply.

    Then the agent acts: it asks to add a note, alice approves, and the note is there once.

    Args:
        outputs: of the stack.
        users: of the demo.
        notes_url: shows the notes of the demo's tool server; None: other servers are configured.
        stream: where it is played.
    """

    def __init__(
        self,
        outputs: Outputs,
        users: Users,
        *,
        notes_url: str | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self._outputs = outputs
        self._users = users
        self._notes_url = notes_url
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
                    self._tell(self._watch(socket, channel_id, question["seq"]))
                    if self._notes_url is not None:
                        self._let_the_agent_act(alice, socket, channel_id, self._notes_url)
            except (OSError, WebSocketException) as error:
                raise DevstackError(f"Bob's WebSocket was lost: {error}") from error

    def _let_the_agent_act(
        self, alice: httpx.Client, socket: ClientConnection, channel_id: str, notes_url: str
    ) -> None:
        path = f"/v1/channels/{channel_id}"
        self._call(alice, path, {"agent": {"tools": [NOTES_TOOL]}}, method="PATCH")
        question = self._call(
            alice, f"{path}/messages", {"text": NOTE, "clientMessageId": "demo-2"}
        )
        self._say(f"\nalice  lets the agent use {NOTES_TOOL}, and asks it to.\n")

        def approve(call_id: str) -> None:
            decision = {"decision": "approve"}
            self._call(alice, f"{path}/tools/{call_id}/decision", decision)
            self._say(f"\nalice  POST .../tools/{call_id[:8]}…/decision  ->  approved\n")

        shown = self._watch(socket, channel_id, question["seq"], approve)
        if shown.call_id is None:
            if SCRIPTED in str(shown.model):
                raise DevstackError("The agent did not ask to add the note.")
            self._say("\n\nThis model answered without a tool.")
            return
        try:
            notes = httpx.get(notes_url, timeout=CALL_SECONDS).json()["notes"]
        except httpx.HTTPError as error:
            raise DevstackError(f"The demo's notes cannot be read: {error}") from error
        times = [note["times"] for note in notes if note["key"] == shown.call_id]
        if times != [1]:
            raise DevstackError(f"The note was to be added once; it was added {sum(times)} times.")
        self._say("\n\nThe note is there, once.")

    def _watch(
        self,
        socket: ClientConnection,
        channel_id: str,
        question_seq: int,
        approve: Callable[[str], None] | None = None,
    ) -> "_Shown":
        """Shows what comes until the reply has; `approve` is called with the call to decide about."""
        deadline = time.monotonic() + REPLY_SECONDS
        shown = _Shown(question_seq, self._stream)
        while shown.reply is None:
            left = deadline - time.monotonic()
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
            if approve is not None and shown.call_id is not None:
                approve(shown.call_id)
                approve = None
        shown.check()
        return shown

    def _tell(self, shown: "_Shown") -> None:
        self._say(
            f"\n\nThe reply came in {shown.pieces} pieces, was complete after "
            f"{shown.seconds:.1f} s and stands in the log as seq {shown.seq} "
            f"({shown.model or 'model unknown'}, {shown.tokens} tokens)."
        )

    def _client(self, user: str) -> httpx.Client:
        token = self._users.token(user)
        return httpx.Client(
            base_url=self._outputs.rest_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=CALL_SECONDS,
        )

    def _call(
        self, client: httpx.Client, path: str, body: Json | None = None, *, method: str = "POST"
    ) -> Json:
        try:
            answer = client.request(method, f"{self._outputs.rest_url}{path}", json=body)
        except httpx.HTTPError as error:
            raise DevstackError(f"{method} {path} got no answer: {error}") from error
        if not answer.is_success:
            raise DevstackError(f"{method} {path} answered {answer.status_code}: {answer.text}")
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
        self._began = time.monotonic()
        self.pieces = 0
        self.seconds = 0.0
        self.reply: Json | None = None
        self.call_id: str | None = None

    @property
    def seq(self) -> int | None:
        return None if self.reply is None else self.reply["seq"]

    @property
    def model(self) -> str | None:
        return self._usage.get("modelId")

    @property
    def tokens(self) -> int:
        tokens: int = self._usage.get("outputTokens", 0)
        return tokens

    @property
    def _usage(self) -> Json:
        usage: Json = {} if self.reply is None else self.reply["data"].get("usage", {})
        return usage

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
        elif event["type"] == "tool.requested" and event["data"]["target"] == self._question_seq:
            self.call_id = event["data"]["callId"]
            arguments = json.dumps(event["data"]["arguments"], ensure_ascii=False)
            self._write(f"\n  agent  asks to call {event['data']['tool']} {arguments}\n")
        elif event["data"].get("replyTo") == self._question_seq:
            self.reply = event
            self.seconds = time.monotonic() - self._began

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
